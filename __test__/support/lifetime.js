// Nothing that a test starts outlives the test process: whatever is open when it ends, by any road but SIGKILL, is ended.

/** @type {Set<() => void>} */
const open = new Set();

/**
 * Has `end` called when this process ends. It must do its work before it returns.
 * @param {() => void} end
 * @returns {() => void} takes `end` off the list again, for what has ended in the ordinary way
 */
export function endWithProcess(end) {
	if (open.size === 0) listen();
	open.add(end);
	return () => {
		open.delete(end);
		if (open.size === 0) unlisten();
	};
}

function endAll() {
	for (const end of open) end();
	open.clear();
	unlisten();
}

/** A signal that nobody handles ends the process without an "exit" event, so it is met here and then let through. */
function endBySignal(signal) {
	endAll();
	process.kill(process.pid, signal);
}

function listen() {
	process.on("exit", endAll);
	process.on("SIGINT", endBySignal);
	process.on("SIGTERM", endBySignal);
}

function unlisten() {
	process.off("exit", endAll);
	process.off("SIGINT", endBySignal);
	process.off("SIGTERM", endBySignal);
}
