/** A bounded map: what was put in last stays, what was put in long ago goes. */

/** Of two generations: when the young one is full it becomes the old one, and the old one is forgotten. */
export class Generations<V> {
	readonly #bytesEach: number;
	#young = new Map<string, V>();
	#old = new Map<string, V>();
	#bytes = 0;

	/** @param maxBytes what all entries may come to, by the sizes that `set` is told */
	constructor(maxBytes: number) {
		this.#bytesEach = maxBytes / 2;
	}

	get(key: string): V | undefined {
		return this.#young.get(key) ?? this.#old.get(key);
	}

	set(key: string, value: V, bytes: number): void {
		this.#bytes += bytes;
		if (this.#bytes > this.#bytesEach) {
			this.#old = this.#young;
			this.#young = new Map();
			this.#bytes = bytes;
		}
		this.#young.set(key, value);
	}
}
