"""Step a recurrent TFLite model on a device and measure what each step costs.

Needs only numpy, click and one TFLite runtime. It imports nothing else of edgestep, so the folder
can be copied to a device as it is.
"""
