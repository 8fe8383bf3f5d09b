/** One store of the addon: opened by its first call, closed once. */
import * as native from "#native";
import { invalid, SessionStoreError } from "../error.js";
import type { StoreMetrics } from "../metrics.js";
import { namesServer, type StoreOptions, toJson, withDefaultServer } from "../options.js";
import { countCall } from "./batch.js";
import { addWaiter, closeHandle, instanceNumber, registerCredentials, watchEvents } from "./completions.js";
import { StoreEvents } from "./events.js";
import { trustExtraCertificates } from "./extra-certificates.js";
import { NearCacheCopies } from "./near-cache.js";
import { ReadCollector } from "./reads.js";

export const Operation = native.Operation;

/** The result of a call. */
export type Reply = string | number | null;

/** A record that is longer than this gives a warning, in UTF-16 units: memory is its size times the sessions. */
const LARGE_RECORD = 64 * 1024;

/** The state from the first call until the store is closed. */
interface OpenStore {
	readonly handle: number;
	readonly reads: ReadCollector;
	/** For keys that the application chose or signed. */
	readonly trustedReads: ReadCollector;
	readonly nearCache: NearCacheCopies | undefined;
}

/** A store behind the native boundary. */
export class NativeStore {
	readonly events: StoreEvents;
	readonly #options: StoreOptions;
	#open: OpenStore | undefined;
	#sessionLifeSeconds: number | undefined;
	#closing: Promise<void> | undefined;

	/** @throws {SessionStoreError} `INVALID_ARGUMENT`, naming every option that is wrong. */
	constructor({ logger, ...options }: Omit<StoreOptions, "loadUser">) {
		this.#options = options;
		this.events = new StoreEvents(logger);
		// Checked here, so that a wrong option is reported where it is written. The environment may name the server later.
		const complete = namesServer(options) ? options : { ...options, url: "redis://localhost" };
		withInvalidArgument(() => native.checkOptions(toJson(complete)));
	}

	/** Makes a call. `n` is NaN when it has no number. The arguments are described at `Operation` in src/calls.rs. */
	call(operation: native.Operation, a = "", b = "", n = Number.NaN, handedOut?: string[]): Promise<Reply> {
		return new Promise((complete, fail) => {
			const { handle } = this.#opened();
			native.submitCall(handle, addWaiter({ handle, complete, fail }), operation, a, b, n, Date.now(), handedOut);
			countCall();
		});
	}

	/**
	 * Writes a value. `ttl` is in s; a session record lives until its own `expiresAt`.
	 *
	 * @returns The user's id when a session was created or its copy of the user changed, 0 when the write was ignored, else `null`.
	 */
	set(key: string, value: string, ttl: number | undefined): Promise<Reply> {
		this.warnOfSize(key, value);
		return this.call(Operation.Set, key, value, ttl, this.#open?.nearCache?.handedOut(key));
	}

	/** Warns once when a session record is large. */
	warnOfSize(token: string, json: string): void {
		if (json.length <= LARGE_RECORD || !json.includes(token)) return;
		this.events.warn(
			"a session record is larger than 64 KiB; Redis holds a copy of the user's row in each session, so keep pictures and documents out of it",
			Number.POSITIVE_INFINITY,
		);
	}

	/** The value of a key that this thread read a moment ago; `undefined` when there is no valid copy. */
	copied(key: string): string | null | undefined {
		return this.#open?.nearCache?.copied(key);
	}

	/**
	 * The value of a key, `null` when there is none; at once, without a promise, when the near cache holds it.
	 *
	 * @param isTrusted Whether the application chose the key, or signed it: such a key may enter Redis' tracking table at once.
	 */
	read(key: string, isTrusted = false): string | null | Promise<string | null> {
		const { nearCache, trustedReads, reads } = this.#opened();
		const cached = nearCache?.cached(key);
		if (cached !== undefined) return cached;
		return (isTrusted ? trustedReads : reads).read(key);
	}

	/** The metrics of the store; of one that cannot be opened, why. */
	metrics(): Omit<StoreMetrics, "userLooks"> {
		try {
			return JSON.parse(native.metrics(this.#opened().handle));
		} catch (error) {
			return JSON.parse(native.metricsOfUnopenedStore((error as Error).message));
		}
	}

	/** Sets how long sessions live, in s: a user's not-before marker then lives as long. */
	setSessionLife(seconds: number): void {
		this.#sessionLifeSeconds = seconds;
		if (this.#open !== undefined) native.setSessionLife(this.#open.handle, seconds);
	}

	/** Resolves when every call that was made before is settled. Later calls reject with `CLOSED`. */
	close(): Promise<void> {
		this.#closing ??= this.#close();
		return this.#closing;
	}

	async #close(): Promise<void> {
		const open = this.#open;
		if (open === undefined) return;
		this.#open = undefined;
		open.reads.send();
		open.trustedReads.send();
		await closeHandle(open.handle);
	}

	#opened(): OpenStore {
		this.#open ??= this.#openNow();
		return this.#open;
	}

	#openNow(): OpenStore {
		if (this.#closing !== undefined) throw new SessionStoreError("CLOSED", "the store was closed; make a new one");
		const options = withDefaultServer(this.#options);
		if (options === null) {
			throw invalid(
				'url: no Redis server is named; set the environment variable REDIS_URL or the option url (for example redis://localhost:6379), or url: "memory://" for sessions in this process only, the default where NODE_ENV is development or test',
			);
		}
		trustExtraCertificates((line) => this.events.warn(line));
		const instance = instanceNumber();
		const handle = withInvalidArgument(() => native.open(instance, toJson(options)));
		try {
			watchEvents(handle, this.events);
			if (this.#sessionLifeSeconds !== undefined) native.setSessionLife(handle, this.#sessionLifeSeconds);
			if (options.credentials) registerCredentials(handle, options.credentials);
			const memory = native.nearCacheMemory(handle);
			return {
				handle,
				reads: new ReadCollector(handle, false),
				trustedReads: new ReadCollector(handle, true),
				nearCache: memory ? new NearCacheCopies(handle, memory) : undefined,
			};
		} catch (error) {
			void closeHandle(handle);
			throw error;
		}
	}
}

/** Runs a native function that throws the problems of options. */
function withInvalidArgument<T>(run: () => T): T {
	try {
		return run();
	} catch (error) {
		throw invalid((error as Error).message);
	}
}
