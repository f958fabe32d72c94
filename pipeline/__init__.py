"""From a recipe to a report: recipe -> stages -> artifacts -> one table and one report."""
