"""The record: what a trial leaves behind, as strict models with a JSON form."""
