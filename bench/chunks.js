// Preparing many records without having all of them under way at once.

const CHUNK = 500;

/**
 * @template T
 * @param {T[]} elements
 * @param {(element: T) => Promise<unknown>} work
 */
export async function inChunks(elements, work) {
	for (let i = 0; i < elements.length; i += CHUNK) await Promise.all(elements.slice(i, i + CHUNK).map(work));
}
