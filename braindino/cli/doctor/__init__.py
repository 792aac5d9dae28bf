"""What `braindino doctor` looks at: each file one part of the installation or of the machine."""
