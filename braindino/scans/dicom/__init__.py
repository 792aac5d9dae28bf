"""Read DICOM headers, convert series by dcm2niix, and choose among the volumes it writes."""
