"""Steps a recurrent TFLite model on a device and measures what each step costs.

Needs only numpy, click and one TFLite runtime; imports nothing else of edgestep,
so that the folder can be copied to a device as it is.
"""
