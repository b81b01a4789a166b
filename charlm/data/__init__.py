"""The way in: names from a file, or the course's list, cleaned, split and made into batches of contexts and targets."""
