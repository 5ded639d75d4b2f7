"""Reading files with bounds: archives, records, pickles, and what damage looks like."""
