"""Check the installation and the machine; each module checks one part."""
