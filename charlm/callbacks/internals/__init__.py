"""The only files of charlm that touch private parts of Lightning or torch."""
