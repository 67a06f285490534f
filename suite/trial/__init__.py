"""One trial: a fresh process that proves or measures one framework's cells in one round."""
