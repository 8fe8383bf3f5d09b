// How much a test does, and on which random path: the short run of `npm test` or the long one of `npm run test:long`
// (TEST_LONG=1), from a seed that replays a failure (TEST_SEED=<printed seed>).

/**
 * How many rounds to do.
 * @param {number} short
 * @param {number} long with TEST_LONG set
 */
export function rounds(short, long) {
	return process.env.TEST_LONG ? long : short;
}

/**
 * A generator of random numbers whose whole course follows from TEST_SEED and `name`. It prints the seed, once.
 * Worker processes inherit the seed; give each a name of its own (`seeded(`worker ${index}`)`) for a path of its own.
 * @param {string} name what draws from it
 */
export function seeded(name) {
	// Kept in the environment, so that every generator of this run, and of its child processes, shares the one seed.
	process.env.TEST_SEED ??= String(Math.floor(Math.random() * 2 ** 32));
	const seed = process.env.TEST_SEED;
	console.log(`${name}: TEST_SEED=${seed}`);
	return new SeededRandom(hash(`${seed} ${name}`));
}

/** mulberry32: small, fast, and even enough for choosing operations. */
class SeededRandom {
	#state;

	/** @param {number} state */
	constructor(state) {
		this.#state = state;
	}

	/** The next number, 0 <= n < 1. */
	next() {
		this.#state = (this.#state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
		mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	}

	/**
	 * The next whole number, 0 <= n < end.
	 * @param {number} end
	 */
	below(end) {
		return Math.floor(this.next() * end);
	}

	/**
	 * One of the items.
	 * @template T
	 * @param {readonly T[]} items
	 * @returns {T}
	 */
	pick(items) {
		return items[this.below(items.length)];
	}
}

/** FNV-1a: 32 bits from a text. */
function hash(text) {
	let value = 0x811c9dc5;
	for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193);
	return value;
}
