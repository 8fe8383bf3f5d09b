/** A bounded map of two generations: when the young one is full it becomes the old one, and the old one is dropped. */
export class TwoGenerationMap<V> {
	readonly #maxBytesEach: number;
	#young = new Map<string, V>();
	#old = new Map<string, V>();
	/** Of the young generation, by the sizes that `set` got. */
	#bytes = 0;

	/** @param maxBytes The bound on all entries together, by the sizes that `set` gets. */
	constructor(maxBytes: number) {
		this.#maxBytesEach = maxBytes / 2;
	}

	get(key: string): V | undefined {
		return this.#young.get(key) ?? this.#old.get(key);
	}

	set(key: string, value: V, bytes: number): void {
		this.#bytes += bytes;
		if (this.#bytes > this.#maxBytesEach) {
			this.#old = this.#young;
			this.#young = new Map();
			this.#bytes = bytes;
		}
		this.#young.set(key, value);
	}
}
