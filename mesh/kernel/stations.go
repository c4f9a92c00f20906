package kernel

// watchStations watches the radios.
func (w *watcher) watchStations() {}
