"""Student and teacher: backbone, position encoding, projection heads and Gram teacher."""
