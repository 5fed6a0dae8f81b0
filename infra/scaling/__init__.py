"""What a catalogue of some size costs, from measured rates."""
