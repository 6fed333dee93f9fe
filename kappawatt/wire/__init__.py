"""What travels: schemas, records, bytes, and samples as columns."""
