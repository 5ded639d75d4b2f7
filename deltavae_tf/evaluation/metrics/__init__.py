"""The metrics of the library, a file each: importing one registers what it declares."""
