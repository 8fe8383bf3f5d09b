// Waiting for something that can be seen, with an end to the waiting.

const DEADLINE_MS = 10_000;

/**
 * Looks until it sees it.
 * @template T
 * @param {string} what is waited for, for the error
 * @param {() => T | Promise<T>} look truthy when it is there
 * @param {number} [deadlineMs]
 * @returns {Promise<T>} what `look` saw
 */
export async function until(what, look, deadlineMs = DEADLINE_MS) {
	const deadline = performance.now() + deadlineMs;
	for (;;) {
		const seen = await look();
		if (seen) return seen;
		if (performance.now() > deadline) throw new Error(`${what}: not seen within ${deadlineMs} ms`);
		await new Promise((resolve) => setTimeout(resolve, 5));
	}
}

/**
 * Whether a call resolves. A server that is back is used within a second, and calls before that may be refused.
 * @param {Promise<unknown>} call
 */
export function succeeds(call) {
	return call.then(
		() => true,
		() => false,
	);
}
