/**
 * This thread's copies of values of the near cache. Keys that are read often are answered without a call of the addon.
 *
 * A copy is valid while the addon's memory says that nothing has changed: see `CopyFreshness` in crates/session-store/src/near_cache.rs.
 */
import * as native from "#native";
import { TwoGenerationMap } from "../two-generation-map.js";
import { STRIPES } from "./facts.js";

// As they are now: tests with fake timers replace them later.
const monotonicNow = performance.now.bind(performance);
const wallNow = Date.now;

/** Size of a copy beside its texts, in bytes. */
const COPY_BYTES = 200;
/** The share of the near cache's size that the copies of one store may use: the near cache leaves an eighth for them. */
const SHARE = 1 / 16;
/** The layout of the memory: two doubles, then 32-bit integers, of which the first counts hits and the others are the stripes. */
const INTEGERS_AT = 16;
const HITS = 0;
const FIRST_STRIPE = 1;

/** How many earlier versions of a key are kept that one microtask run was handed. */
const MAX_EARLIER_VERSIONS = 8;
const NONE: readonly string[] = [];

interface Copy {
	readonly value: string | null;
	/** Index of its stripe's counter, and the counter's value before the read. */
	readonly stripe: number;
	readonly count: number;
	/** When it expires, in ms, by this thread's monotonic clock and by the wall clock: the earlier one counts. */
	readonly expiresAt: number;
	readonly expiresAtWall: number;
	/** The microtask run in which it was last handed out. */
	run: number;
	/** Earlier values that were handed out under the key in that run, the latest last. */
	readonly earlier: readonly string[];
}

/** Number of the current run of microtasks: they start with each wake-up. */
let run = 0;

/** Starts another run. A value that was handed out in an earlier run is no base of a write any more. */
export function startMicrotaskRun(): void {
	run++;
}

/** The result of a read: a text, `null` when there is no value, `undefined` when it is not known. */
type Hit = string | null | undefined;

export class NearCacheCopies {
	readonly #handle: number;
	readonly #maxStalenessMs: number;
	/** When the last sign of life of the connection was sent, in ms: by the addon's monotonic clock and by the wall clock. */
	readonly #alive: Float64Array;
	readonly #integers: Int32Array;
	/** The difference of the addon's monotonic clock and this thread's, in ms. */
	readonly #clockOffset: number;
	readonly #copies: TwoGenerationMap<Copy>;

	constructor(handle: number, { memory, maxStalenessMs, maxBytes }: native.NearCacheMemory) {
		this.#handle = handle;
		this.#maxStalenessMs = maxStalenessMs;
		this.#copies = new TwoGenerationMap(maxBytes * SHARE);
		this.#alive = new Float64Array(memory, 0, 2);
		this.#integers = new Int32Array(memory, INTEGERS_AT, FIRST_STRIPE + STRIPES);
		this.#clockOffset = native.monotonicMs() - monotonicNow();
	}

	/** Reads this thread's copy. */
	copied(key: string): Hit {
		const copy = this.#copies.get(key);
		if (copy === undefined) return undefined;
		// The signs of life are read before the stripe: a connection that began in between has already raised the stripe's counter.
		const alive = this.#alive[0] as number;
		const aliveWall = this.#alive[1] as number;
		if (Atomics.load(this.#integers, copy.stripe) !== copy.count) return undefined;
		const now = monotonicNow();
		if (now >= copy.expiresAt || now + this.#clockOffset - alive > this.#maxStalenessMs) return undefined;
		const nowWall = wallNow();
		if (nowWall >= copy.expiresAtWall || nowWall - aliveWall > this.#maxStalenessMs) return undefined;
		Atomics.add(this.#integers, HITS, 1);
		copy.run = run;
		return copy.value;
	}

	/** Reads the near cache of the process, and keeps a copy. */
	cached(key: string): Hit {
		const stripe = stripeOf(key);
		// Before the read: a change in between then makes the copy invalid.
		const count = Atomics.load(this.#integers, stripe);
		const value = native.cached(this.#handle, key);
		if (value !== undefined) this.#keep(key, value, stripe, count);
		return value;
	}

	/**
	 * The values that were handed out under a key in this microtask run, the latest last, or `undefined`. Better Auth writes a session back in
	 * the run that read it. So one of these values is the base of its write.
	 */
	handedOut(key: string): string[] | undefined {
		const copy = this.#copies.get(key);
		if (copy?.run !== run) return undefined;
		return copy.value === null ? [...copy.earlier] : [...copy.earlier, copy.value];
	}

	#keep(key: string, value: string | null, stripe: number, count: number): void {
		const [now, nowWall] = [monotonicNow(), wallNow()];
		const lifeMs = native.cachedLifeMs(this.#handle, key);
		if (lifeMs <= 0) return;
		const earlier = this.handedOut(key)?.slice(-MAX_EARLIER_VERSIONS) ?? NONE;
		const [expiresAt, expiresAtWall] = [now + lifeMs, nowWall + lifeMs];
		const copy = { value, stripe, count, expiresAt, expiresAtWall, run, earlier };
		this.#copies.set(key, copy, key.length + (value?.length ?? 0) + COPY_BYTES);
	}
}

/** Index of a key's stripe, as `stripe` in crates/session-store/src/near_cache.rs. */
function stripeOf(key: string): number {
	const end = key.length;
	const unit = (back: number) => (end < back ? 0 : key.charCodeAt(end - back));
	return FIRST_STRIPE + (((unit(3) * 31 + unit(2)) * 31 + unit(1)) % STRIPES);
}
