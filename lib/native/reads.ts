/** The reads of one store in one tick: they cross the native boundary as one string of keys and come back as few strings of values. */
import * as native from "#native";
import { SessionStoreError } from "../error.js";
import { addReads, countCall, type PendingReads } from "./batch.js";
import { addWaiter, type Waiter } from "./completions.js";
import { SESSION_LIST_PREFIX } from "./facts.js";

type Resolve = (value: string | null) => void;
type Reject = (error: SessionStoreError) => void;

/** The largest total length of keys that cross together, in UTF-16 units. */
const MAX_KEYS_LENGTH = 128 * 1024 * 1024;

const TOO_LONG = "the value is too long for a JavaScript string (about 512 MiB)";

/** In place of a value's length: there is no value (src/packed.rs). */
const ABSENT = 0xffffffff;

/** Collects the reads of one store, a batch for each tick. */
export class ReadCollector {
	readonly #handle: number;
	readonly #isTrusted: boolean;
	#current: TickReads | undefined;

	/** @param isTrusted Whether the application chose or signed the keys. */
	constructor(handle: number, isTrusted: boolean) {
		this.#handle = handle;
		this.#isTrusted = isTrusted;
	}

	/** The value of a key, `null` when there is none. */
	read(key: string): Promise<string | null> {
		let reads = this.#current;
		if (reads?.isFull) reads.send();
		if (reads === undefined || reads.isSent) {
			reads = new TickReads(this.#handle, this.#isTrusted);
			this.#current = reads;
			addReads(reads);
		}
		return reads.add(key);
	}

	/** Submits the collected reads. */
	send(): void {
		this.#current?.send();
	}
}

/** The promises of one tick's reads of one store. */
class TickReads implements Waiter, PendingReads {
	readonly handle: number;
	readonly #isTrusted: boolean;
	readonly #keys: string[] = [];
	readonly resolves: Resolve[] = [];
	readonly rejects: Reject[] = [];
	/** A user's list is read once: Better Auth reads it for each of the sessions that it ends together. */
	readonly #lists = new Map<string, Promise<string | null>>();
	isSent = false;
	/** Total length of the keys, in UTF-16 units. */
	#keysLength = 0;
	/** How many of the promises are settled, in their order. */
	#settled = 0;

	constructor(handle: number, isTrusted: boolean) {
		this.handle = handle;
		this.#isTrusted = isTrusted;
	}

	add(key: string): Promise<string | null> {
		if (!key.startsWith(SESSION_LIST_PREFIX)) return this.#add(key);
		let list = this.#lists.get(key);
		if (list === undefined) {
			list = this.#add(key);
			this.#lists.set(key, list);
			countCall();
		}
		return list;
	}

	#add(key: string): Promise<string | null> {
		this.#keys.push(key);
		this.#keysLength += key.length;
		adding = this;
		return new Promise(addPromise);
	}

	send(): void {
		if (this.isSent) return;
		this.isSent = true;
		native.submitReads(this.handle, addWaiter(this), this.#keys.join("\0"), this.#isTrusted, Date.now());
	}

	/** All values in one string; or some of them, each string after how many it holds. */
	complete(answer: string | (string | number | null)[]): void {
		if (typeof answer === "string") {
			this.#unpack(answer, this.resolves.length);
			return;
		}
		for (let i = 0; i < answer.length; i += 2) {
			const count = answer[i] as number;
			const packed = answer[i + 1] as string | null;
			if (packed === null) this.#reject(count, new SessionStoreError("LIMIT", TOO_LONG));
			else this.#unpack(packed, count);
		}
	}

	fail(error: SessionStoreError): void {
		this.#reject(this.rejects.length - this.#settled, error);
	}

	/** Resolves the next `count` promises. `packed`: the lengths, four base-256 digits each, then the values (src/packed.rs). */
	#unpack(packed: string, count: number): void {
		let at = count * 4;
		for (let i = 0; i < count; i++) {
			const length = lengthAt(packed, i * 4);
			const resolve = this.resolves[this.#settled++] as Resolve;
			if (length === ABSENT) resolve(null);
			else {
				resolve(packed.slice(at, at + length));
				at += length;
			}
		}
	}

	#reject(count: number, error: SessionStoreError): void {
		for (let i = 0; i < count; i++) (this.rejects[this.#settled++] as Reject)(error);
	}

	/** Whether further keys would make a string that is too long. */
	get isFull(): boolean {
		return this.#keysLength > MAX_KEYS_LENGTH;
	}
}

/** The reads that `addPromise` adds to: one executor for all promises costs less than a closure for each. */
let adding: TickReads;

function addPromise(resolve: Resolve, reject: Reject): void {
	adding.resolves.push(resolve);
	adding.rejects.push(reject);
}

function lengthAt(packed: string, at: number): number {
	const low = packed.charCodeAt(at) | (packed.charCodeAt(at + 1) << 8) | (packed.charCodeAt(at + 2) << 16);
	return low + packed.charCodeAt(at + 3) * 0x1000000;
}
