"""How much of the machine a server leaves to the model: Tianti's node beside what others serve models with."""
