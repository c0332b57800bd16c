"""An event-by-event simulation of docs/twin.md, slow and plain, against which the compiled twin is tested."""
