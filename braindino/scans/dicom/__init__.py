"""DICOM series: their headers, their conversion by dcm2niix, and the choice among the volumes it makes."""
