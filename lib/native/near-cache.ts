/**
 * This thread's copies of what the near cache answered: what is read most is answered without a call of the addon. A
 * copy holds while the addon's memory says that nothing has changed: see `Shared` in crates/session-store/src/near_cache.rs.
 */
import * as native from "#native";
import { Generations } from "../two-generation-map.js";

// As they are now: tests with fake timers replace them later.
const monotonic = performance.now.bind(performance);
const wall = Date.now;

/** Beside the text, in bytes. */
const COPY_BYTES = 200;
/** Of the near cache's size, what the copies of one face of the store may come to: near_cache.rs leaves an eighth for them. */
const SHARE = 1 / 16;
/** How many stripes there are: what `Shared` has. */
const STRIPES = 4096;
/** Of the 32-bit integers, the one that counts hits; the stripes follow. */
const HITS = 0;
const INTEGERS_AT = 16;

/** How many versions of a key one run's writers may have read. */
const VERSIONS = 8;
const NONE: readonly string[] = [];

interface Copy {
	readonly value: string | null;
	/** Where its stripe's counter is, and how it stood before the value was asked for. */
	readonly stripe: number;
	readonly count: number;
	/** By this thread's monotonic clock and by the wall clock, in ms: whichever says so first. */
	readonly until: number;
	readonly untilWall: number;
	/** The run of microtasks in which it was last handed out. */
	run: number;
	/** What had been handed out under the key in that run before it, the latest last. */
	readonly before: readonly string[];
}

/** Number of the run of microtasks since the last wake-up. */
let run = 0;

/** Another run begins: whoever was handed something in an earlier one has had its turn. */
export function beginRun(): void {
	run++;
}

/** What a read is answered with when it is known: a text, `null` when there is none; `undefined` when it is not known. */
type Hit = string | null | undefined;

export class NearCache {
	readonly #handle: number;
	readonly #maxStalenessMs: number;
	readonly #alive: Float64Array;
	readonly #integers: Int32Array;
	/** The addon's monotonic clock when this thread's stands at 0. */
	readonly #start: number;
	readonly #copies: Generations<Copy>;

	constructor(handle: number, { memory, maxStalenessMs, maxBytes }: native.NearCache) {
		this.#handle = handle;
		this.#maxStalenessMs = maxStalenessMs;
		this.#copies = new Generations(maxBytes * SHARE);
		this.#alive = new Float64Array(memory, 0, 2);
		this.#integers = new Int32Array(memory, INTEGERS_AT, 1 + STRIPES);
		this.#start = native.clock() - monotonic();
	}

	/** Of what this thread has copied. */
	copied(key: string): Hit {
		const copy = this.#copies.get(key);
		if (copy === undefined) return undefined;
		// The signs of life before the stripe: a connection that began in between has counted the stripe up.
		const alive = this.#alive[0] as number;
		const aliveWall = this.#alive[1] as number;
		if (Atomics.load(this.#integers, copy.stripe) !== copy.count) return undefined;
		const now = monotonic();
		if (now >= copy.until || now + this.#start - alive > this.#maxStalenessMs) return undefined;
		const nowWall = wall();
		if (nowWall >= copy.untilWall || nowWall - aliveWall > this.#maxStalenessMs) return undefined;
		Atomics.add(this.#integers, HITS, 1);
		copy.run = run;
		return copy.value;
	}

	/** Of what the process has cached. */
	cached(key: string): Hit {
		const stripe = stripeOf(key);
		const count = Atomics.load(this.#integers, stripe);
		const value = native.cached(this.#handle, key);
		if (value !== undefined) this.#keep(key, value, stripe, count);
		return value;
	}

	/**
	 * What was handed out under a key in this run, the latest last. Better Auth writes a session back in the run in which it read
	 * it: one of these is what it has changed.
	 */
	handed(key: string): string[] | undefined {
		const copy = this.#copies.get(key);
		if (copy?.run !== run) return undefined;
		return copy.value === null ? [...copy.before] : [...copy.before, copy.value];
	}

	#keep(key: string, value: string | null, stripe: number, count: number): void {
		const [now, nowWall] = [monotonic(), wall()];
		const life = native.life(this.#handle, key);
		if (life <= 0) return;
		const before = this.handed(key)?.slice(-VERSIONS) ?? NONE;
		const copy = { value, stripe, count, until: now + life, untilWall: nowWall + life, run, before };
		this.#copies.set(key, copy, key.length + (value?.length ?? 0) + COPY_BYTES);
	}
}

/** As `stripe` in near_cache.rs. */
function stripeOf(key: string): number {
	const end = key.length;
	const unit = (back: number) => (end < back ? 0 : key.charCodeAt(end - back));
	return 1 + (((unit(3) * 31 + unit(2)) * 31 + unit(1)) % STRIPES);
}
