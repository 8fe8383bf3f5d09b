/**
 * The JavaScript half of the border to the native addon: what is asked in one tick goes out as one batch, and what has
 * completed comes back in one wake-up.
 */
import * as native from "#native";
import { LIST_PREFIX } from "../argument-checks.js";
import { ask, type CredentialsFunction } from "./credentials.js";
import { invalid, SessionStoreError, type SessionStoreErrorCode } from "../error.js";
import { StoreEvents } from "./events.js";
import { trustExtraCertificates } from "./extra-certificates.js";
import { metricsOfNone, type StoreMetrics } from "../metrics.js";
import { beginRun, NearCache } from "./near-cache.js";
import { namesServer, type StoreOptions, toJson, withDefaultServer } from "../options.js";
import { UserLooks } from "../user-sync.js";

export const Op = native.Op;

/** What a call resolves to. */
type Reply = string | number | null;

/** Somebody who waits for a completion: of a call, or of a tick's reads, which may come in parts. */
interface Waiter {
	/** Of the store that was called. */
	readonly handle: number;
	complete(answer: never): void;
	fail(error: SessionStoreError): void;
}

/** Number of this module instance at the native side; registered by the first store that is opened. */
let border: number | undefined;
let lastNumber = 0;
const waiters = new Map<number, Waiter>();
/** What async hooks are shown. It answers as Node.js' own handles do whether it keeps the process alive: Jest lists those that say yes. */
const resource = { hasRef: () => waiters.size > 0 };
/** By the handle of a store, who is told what happens to its connection. */
const watching = new Map<number, StoreEvents>();
/** By the handle of a store, who is asked for user name and password. */
const asked = new Map<number, CredentialsFunction>();
/** By the handle of a store that is closed, what is to be called when its last call has been settled. */
const closing = new Map<number, () => void>();
/** In place of a call's number. */
const EVENT = 0;
/**
 * So many calls do not wait for the tick's end: the store's thread and Redis work on them while JavaScript goes on. A read of a user's
 * list counts as a call, because Better Auth has much to do between two of them. (Other reads do wait: they are the cheaper, the more of
 * them leave together.)
 */
const HANDED_OVER = 16;
/** Calls that are not handed over yet. */
let unsent = 0;
/** Whether the tick's end will send what is asked. */
let flushing = false;
/** This tick's reads, each of another store. */
let readings: Reads[] = [];

function settle(): void {
	beginRun();
	const done = native.drain(border as number) as unknown[];
	for (let i = 0; i < done.length; i += 3) {
		const number = done[i] as number;
		if (number === EVENT) {
			hear(done[i + 1] as number, done[i + 2] as string | number | null);
			continue;
		}
		const code = done[i + 1] as SessionStoreErrorCode | undefined | false;
		const waiter = waiters.get(number) as Waiter;
		if (code !== false) waiters.delete(number);
		if (!code) waiter.complete(done[i + 2] as never);
		else waiter.fail(new SessionStoreError(code, done[i + 2] as string));
	}
	endClosing();
}

/** Ends the closing of the stores that wait for no call any more. */
function endClosing(): void {
	if (closing.size === 0) return;
	const busy = new Set<number>();
	for (const { handle } of waiters.values()) busy.add(handle);
	for (const [handle, end] of closing) {
		if (busy.has(handle)) continue;
		closing.delete(handle);
		end();
	}
}

/** Takes an event (JSON), the number of a question for user name and password, or null: there will be none any more. */
function hear(handle: number, told: string | number | null): void {
	if (typeof told === "string") {
		watching.get(handle)?.tell(JSON.parse(told));
	} else if (told === null) {
		asked.delete(handle);
	} else {
		void ask(border as number, told, asked.get(handle) as CredentialsFunction);
	}
}

/** After the tick's microtasks, so that everything that they ask leaves together. */
function flushLater(): void {
	if (flushing) return;
	flushing = true;
	process.nextTick(endTick);
}

/** Counts a call that has been made; so many are handed over. */
function handOver(): void {
	unsent++;
	if (unsent < HANDED_OVER) flushLater();
	else flush();
}

function endTick(): void {
	flushing = false;
	if (unsent > 0 || readings.length > 0) flush();
}

function flush(): void {
	unsent = 0;
	for (const reads of readings) reads.send();
	readings = [];
	try {
		native.flush(border as number);
	} catch (error) {
		// The system refuses a thread: nothing that was ever asked is under way.
		for (const waiter of waiters.values()) waiter.fail(new SessionStoreError("UNAVAILABLE", (error as Error).message));
		waiters.clear();
		for (const handle of watching.keys()) native.watch(handle);
		endClosing();
	}
}

function expect(waiter: Waiter): number {
	lastNumber = (lastNumber + 1) >>> 0 || 1;
	waiters.set(lastNumber, waiter);
	return lastNumber;
}

type Resolve = (value: string | null) => void;
type Reject = (error: SessionStoreError) => void;

/** Of the keys that cross together, in UTF-16 units. */
const MAX_KEYS_LENGTH = 128 * 1024 * 1024;
const TOO_LONG = "the value is too long for a JavaScript string (about 512 MiB)";

/** The promises of one tick's reads of one store. */
class Reads implements Waiter {
	readonly handle: number;
	readonly #isTrusted: boolean;
	readonly #keys: string[] = [];
	readonly resolves: Resolve[] = [];
	readonly rejects: Reject[] = [];
	/** A user's list is read once: Better Auth looks at it for each of the sessions that it ends together. */
	readonly #lists = new Map<string, Promise<string | null>>();
	sent = false;
	/** Of the keys together, in UTF-16 units. */
	#length = 0;
	/** How many of the promises are settled: those come first. */
	#settled = 0;

	constructor(handle: number, isTrusted: boolean) {
		this.handle = handle;
		this.#isTrusted = isTrusted;
	}

	add(key: string): Promise<string | null> {
		if (!key.startsWith(LIST_PREFIX)) return this.#add(key);
		let list = this.#lists.get(key);
		if (list === undefined) {
			list = this.#add(key);
			this.#lists.set(key, list);
			handOver();
		}
		return list;
	}

	#add(key: string): Promise<string | null> {
		this.#keys.push(key);
		this.#length += key.length;
		entered = this;
		return new Promise(enter);
	}

	send(): void {
		if (this.sent) return;
		this.sent = true;
		native.read(this.handle, expect(this), this.#keys.join("\0"), this.#isTrusted, Date.now());
	}

	/** All of them; or some, each string after how many it holds. */
	complete(answer: string | (string | number | null)[]): void {
		if (typeof answer === "string") {
			this.#unpack(answer, this.resolves.length);
			return;
		}
		for (let i = 0; i < answer.length; i += 2) {
			const count = answer[i] as number;
			const packed = answer[i + 1] as string | null;
			if (packed === null) this.#refuse(count, new SessionStoreError("LIMIT", TOO_LONG));
			else this.#unpack(packed, count);
		}
	}

	/** `packed`: the lengths, four base-256 digits each, then the values (src/packed.rs). */
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

	#refuse(count: number, error: SessionStoreError): void {
		for (let i = 0; i < count; i++) (this.rejects[this.#settled++] as Reject)(error);
	}

	fail(error: SessionStoreError): void {
		this.#refuse(this.rejects.length - this.#settled, error);
	}

	/** Whether further keys would make a string that is too long. */
	get isFull(): boolean {
		return this.#length > MAX_KEYS_LENGTH;
	}
}

/** The reads that [`enter`] adds to: one executor for all promises costs less than a closure for each. */
let entered: Reads;

function enter(resolve: Resolve, reject: Reject): void {
	entered.resolves.push(resolve);
	entered.rejects.push(reject);
}

const ABSENT = 0xffffffff;

function lengthAt(packed: string, at: number): number {
	const low = packed.charCodeAt(at) | (packed.charCodeAt(at + 1) << 8) | (packed.charCodeAt(at + 2) << 16);
	return low + packed.charCodeAt(at + 3) * 0x1000000;
}

/** A record that is longer than this gives a warning, in UTF-16 units: memory is its size times the sessions. */
const LARGE_RECORD = 64 * 1024;

/** Runs a native function that throws what is wrong with options. */
function checked<T>(use: () => T): T {
	try {
		return use();
	} catch (error) {
		throw invalid((error as Error).message);
	}
}

/** One store's way to the native side. Opened by its first call. */
export class Connection {
	readonly #options: StoreOptions;
	readonly events: StoreEvents;
	readonly looks: UserLooks;
	#handle: number | undefined;
	#expectedLife: number | undefined;
	#reads: Reads | undefined;
	#trustedReads: Reads | undefined;
	#near: NearCache | undefined;
	#closed = false;
	#closing: Promise<void> | undefined;

	/** @throws {SessionStoreError} `INVALID_ARGUMENT`, naming every option that is wrong. */
	constructor({ logger, loadUser, ...options }: StoreOptions) {
		this.#options = options;
		this.events = new StoreEvents(logger);
		this.looks = new UserLooks(this.call.bind(this), this.events, loadUser);
		// Checked here, so that a wrong option is found where it is written. The environment may name the server later.
		const complete = namesServer(options) ? options : { ...options, url: "redis://localhost" };
		checked(() => native.check(toJson(complete)));
	}

	/** Makes a call. `n` is NaN when it has no number; `handed` is as in src/border.rs. */
	call(op: native.Op, a = "", b = "", n = Number.NaN, handed?: string[]): Promise<Reply> {
		return new Promise((complete, fail) => {
			const handle = this.#open();
			native.submit(handle, expect({ handle, complete, fail }), op, a, b, n, Date.now(), handed);
			handOver();
		});
	}

	/** Writes a value; see `Set` of src/border.rs. */
	async set(key: string, value: string, ttl: number | undefined): Promise<void> {
		this.warnOfSize(key, value);
		let answer: Reply;
		try {
			answer = await this.call(Op.Set, key, value, ttl, this.#near?.handed(key));
		} catch (error) {
			this.looks.noteFailedWrite(key, value, error);
			throw error;
		}
		if (typeof answer === "string") this.looks.noteWrite(answer);
		else if (answer === 0) {
			this.events.warn(
				"a session older than 120 s that is not in Redis was not written, so that an ended session cannot come back; to import sessions use createSession (docs/coming-from.md)",
			);
		}
	}

	/** Warns once when a session record is large. */
	warnOfSize(token: string, json: string): void {
		if (json.length <= LARGE_RECORD || !json.includes(token)) return;
		this.events.warn(
			"a session record is larger than 64 KiB; Redis holds a copy of the user's row in each session, so keep pictures and documents out of it",
			Number.POSITIVE_INFINITY,
		);
	}

	/** The value of a key that was read a moment ago; `undefined` when that is not known. */
	copied(key: string): string | null | undefined {
		return this.#near?.copied(key);
	}

	/**
	 * The value of a key, `null` when there is none: at once, when the near cache knows it.
	 *
	 * @param isTrusted Whether the application chose the key, or signed it: such a key may enter Redis' tracking table at once.
	 */
	read(key: string, isTrusted = false): string | null | Promise<string | null> {
		const handle = this.#open();
		const cached = this.#near?.cached(key);
		if (cached !== undefined) return cached;
		let reads = isTrusted ? this.#trustedReads : this.#reads;
		if (reads?.isFull) reads.send();
		if (reads === undefined || reads.sent) {
			reads = new Reads(handle, isTrusted);
			if (isTrusted) this.#trustedReads = reads;
			else this.#reads = reads;
			readings.push(reads);
			flushLater();
		}
		return reads.add(key);
	}

	/** How the store stands. */
	metrics(): StoreMetrics {
		const userLooks = this.looks.metrics();
		try {
			return { ...JSON.parse(native.metrics(this.#open())), userLooks } as StoreMetrics;
		} catch (error) {
			// Whoever watches a store is told why there is nothing to see.
			return { ...metricsOfNone((error as Error).message), userLooks };
		}
	}

	/** Sessions live for so many s: see `expectLife` of src/border.rs. */
	expectLife(seconds: number): void {
		this.#expectedLife = seconds;
		if (this.#handle !== undefined) native.expectLife(this.#handle, seconds);
	}

	/** Resolves when every call that was made before is settled. */
	close(): Promise<void> {
		this.#closing ??= this.#close();
		return this.#closing;
	}

	async #close(): Promise<void> {
		this.#closed = true;
		this.looks.close();
		this.#near = undefined;
		this.#reads?.send();
		this.#trustedReads?.send();
		const handle = this.#handle;
		if (handle === undefined) return;
		this.#handle = undefined;
		native.close(handle);
		watching.delete(handle);
		await new Promise<void>((resolve) => {
			closing.set(handle, resolve);
			endClosing();
		});
	}

	#open(): number {
		if (this.#closed) throw new SessionStoreError("CLOSED", "the store was closed; make a new one");
		if (this.#handle === undefined) {
			const options = withDefaultServer(this.#options);
			if (options === null) {
				throw invalid(
					'url: no Redis server is named; set the environment variable REDIS_URL or the option url (for example redis://localhost:6379), or url: "memory://" for sessions in this process only, the default where NODE_ENV is development or test',
				);
			}
			trustExtraCertificates((line) => this.events.warn(line));
			border ??= native.attach(settle, resource);
			const number = border;
			this.#handle = checked(() => native.open(number, toJson(options)));
			watching.set(this.#handle, this.events);
			native.watch(this.#handle);
			if (this.#expectedLife !== undefined) native.expectLife(this.#handle, this.#expectedLife);
			if (options.credentials) {
				asked.set(this.#handle, options.credentials);
				native.provide(this.#handle);
			}
			const near = native.nearCache(this.#handle);
			if (near) this.#near = new NearCache(this.#handle, near);
		}
		return this.#handle;
	}
}
