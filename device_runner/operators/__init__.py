"""TFLite's operators: what each computes and costs."""
