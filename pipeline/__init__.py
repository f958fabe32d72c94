"""The whole way: recipe -> stages -> artifacts -> one table and one report."""
