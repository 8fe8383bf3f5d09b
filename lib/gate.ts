/** A full session check in this process, in microseconds. Its answer equals that of `auth.api.getSession`. */

import type * as native from "#native";
import { invalid } from "./error.js";
import { SessionRecord } from "./gate/record.js";
import { type CheckedRequest, type GateRequest, readRequest } from "./gate/request.js";
import { type AuthContext, AuthSetup, checkLimit } from "./gate/setup.js";
import { NOT_BEFORE_PREFIX } from "./native/facts.js";
import { internalsOf, type StorageInternals } from "./storage-internals.js";
import { TwoGenerationMap } from "./two-generation-map.js";

export type { GateRequest, HeadersLike, NodeHeaders } from "./gate/request.js";

/** The part of a storage that a gate needs. A `RedisStorage` has it. */
export interface GateStorage {
	get(key: string): string | null | Promise<string | null>;
}

/** The part of `betterAuth(…)` that a gate needs. */
export interface GateAuth {
	// biome-ignore lint/suspicious/noExplicitAny: each version of Better Auth has types of its own
	readonly $context: Promise<any>;
	// biome-ignore lint/suspicious/noExplicitAny: as above
	readonly api: { getSession(...args: any[]): Promise<any> };
	/** The options of `betterAuth`. */
	// biome-ignore lint/suspicious/noExplicitAny: as above
	readonly options?: any;
}

/** Options of a gate. */
export interface GateOptions {
	/**
	 * Handling of a session that is due to be extended (Better Auth's `updateAge`). `full`: Better Auth extends it, on its full path. `skip`: the
	 * gate returns it unchanged. Use `skip` in a place that cannot set cookies, if another place extends sessions. Default `full`.
	 */
	onRefresh?: "full" | "skip" | undefined;
}

/** Counts of a gate's checks. Each check is counted once. */
export interface GateStats {
	/** Answered by the gate with a session. */
	fast: number;
	/** Answered by the gate with `null`, without asking Redis. */
	refused: {
		/** There is no session cookie, or an empty one. */
		noCookie: number;
		/** The session cookie has no valid signature: it is forged, cut off, or signed with another secret. 20 within a minute give a warning. */
		badSignature: number;
	};
	/**
	 * Passed on to `auth.api.getSession`, by reason.
	 *
	 * Reasons for every check: `version` (Better Auth before 1.4, or newer than the gate was tested with), `cookieCache`, `storeTokenHash`,
	 * `baseURL` (as an object), `hooks`, `hiddenField` (an essential field has `returned: false`), `plugin:<id>` (the plugin has a
	 * `/get-session` of its own).
	 *
	 * Reasons for some checks: `options` (a query, `asResponse` …), `plugin:<id>` (a hook of the plugin matches), `sessionData` (a cookie of the
	 * cookie cache is left over), `noSession`, `unreadable` (not written by Better Auth), `revoked`, `expired`, `refresh`.
	 */
	full: Record<string, number>;
}

/** The result of `auth.api.getSession` in this application. */
export type GateSession<A extends GateAuth> = Awaited<ReturnType<A["api"]["getSession"]>>;

/**
 * Checks the session of a request. See {@link sessionGate}.
 *
 * It also takes the argument of `auth.api.getSession`. An argument with more than `headers` is passed on to `auth.api.getSession`.
 */
export type SessionGate<A extends GateAuth> = A["api"]["getSession"] & GateCheck<A>;

/** The gate's own call and methods, beside those of `auth.api.getSession`. */
export interface GateCheck<A extends GateAuth> {
	/**
	 * Resolves to the session of a request with its user, or to `null`. Await it: a promise is always truthy. Each answer is a fresh object.
	 *
	 * @param from A request, its headers, or its Cookie header.
	 * @throws {SessionStoreError} When Redis cannot answer. `null` never means that. `INVALID_ARGUMENT` when `from` is no request.
	 */
	(from: GateRequest): Promise<GateSession<A>>;
	/** Returns the counts since the gate was made. */
	stats(): GateStats;
}

/** The bounds on remembered cookies and on remembered records in a thread, in bytes each. Approximate. */
const MEMORY_BYTES = 8 * 1024 * 1024;
/** A larger record is parsed at each check, in UTF-16 units. */
const MAX_REMEMBERED = 64 * 1024;
/** The size of an entry beside its texts, in bytes. */
const ENTRY_BYTES = 500;

/** A Cookie header whose signature has been checked. */
interface Verified extends native.SessionCookie {
	isRemembered?: boolean;
}

type Refusal = keyof GateStats["refused"];

/** This many bad signatures within `withinMs` give a warning, at most once per `repeatMs`. */
const MANY_BAD_SIGNATURES = { count: 20, withinMs: 60_000, repeatMs: 3_600_000 };
const BAD_SIGNATURES =
	"many session cookies have a bad signature: a server with another secret (BETTER_AUTH_SECRET) probably signs cookies for this site, or the secret was changed (docs/troubleshooting.md#signed-out-when-another-server-answers)";
const COOKIE_CACHE =
	"session.cookieCache is enabled: a session that was ended is accepted until the copy in its cookie is too old, and the gate takes the full path; remove the option, the near cache saves the same read (docs/gate.md)";

/** A text and the record that it holds. */
interface ParsedRecord {
	readonly text: string;
	readonly record: SessionRecord | undefined;
}

/**
 * Makes a gate. A gate checks the signature of the session cookie, the session, its expiry and its revocation in this process, with the near
 * cache of the storage. If Better Auth would do more than read, the gate passes the request on to `auth.api.getSession`. {@link GateStats}
 * counts the reasons.
 *
 * From then on the storage reads users' rows through `auth`, to keep the user in each session equal to its row (option `loadUser`). So make the
 * gate in the module that makes `auth`.
 *
 * The gate reads the settings of `auth` once. It does not recognize a patched `internalAdapter` or `auth.api`, or settings that change later.
 *
 * @param auth The result of `betterAuth(…)`. Before Better Auth 1.4 every check takes the full path.
 * @param storage The storage that `auth` has as `secondaryStorage`: the same object.
 * @param options See {@link GateOptions}.
 * @returns A function that takes a request, with a method `stats`.
 * @throws {SessionStoreError} `INVALID_ARGUMENT` for a wrong argument. Also if the storage has `maxSessionsPerUser` and `auth` has
 *   `session.storeSessionInDatabase`.
 *
 * @example
 * ```ts
 * import { sessionGate } from "better-auth-redis-store/gate";
 * import { auth, storage } from "./auth";
 *
 * export const getSession = sessionGate(auth, storage);
 * ```
 */
export function sessionGate<A extends GateAuth>(
	auth: A,
	storage: GateStorage,
	options: GateOptions = {},
): SessionGate<A> {
	if (typeof auth?.api?.getSession !== "function") throw invalid("auth: must be the result of betterAuth(…)");
	// Plugins may change the options later: the first check reads them again.
	checkLimit(auth.options ?? {}, storage);
	const internals = internalsOf(storage);
	const read = internals?.readTrusted ?? ((key: string) => storage.get(key));
	const gate = new Gate(auth, storage, read, checkOptions(options), internals?.warn);
	internals?.bind(auth);
	const check = (from: GateRequest) => gate.check(from) as Promise<GateSession<A>>;
	return Object.assign(check, { stats: () => gate.stats() }) as SessionGate<A>;
}

function checkOptions(options: GateOptions): GateOptions {
	if (typeof options !== "object" || options === null) throw invalid("options: must be an object");
	const { onRefresh, ...others } = options;
	const [other] = Object.keys(others);
	if (other !== undefined) throw invalid(`unknown option "${other}"; sessionGate accepts onRefresh`);
	if (onRefresh !== undefined && onRefresh !== "full" && onRefresh !== "skip") {
		throw invalid(`onRefresh: must be "full" or "skip"`);
	}
	return options;
}

/** A storage's `get`, which may return a value without a promise. */
type GetValue = GateStorage["get"];

type Warn = StorageInternals["warn"];

type Answer = { session: object; user: object; needsRefresh?: boolean } | null;

class Gate {
	readonly #auth: GateAuth;
	readonly #storage: object;
	readonly #get: GetValue;
	readonly #skipsRefresh: boolean;
	/** By Cookie header. */
	readonly #verified = new TwoGenerationMap<Verified>(MEMORY_BYTES);
	/** By token. */
	readonly #read = new TwoGenerationMap<ParsedRecord>(MEMORY_BYTES);
	readonly #warn: Warn | undefined;
	#setup: AuthSetup | undefined;
	#fast = 0;
	readonly #refused = { noCookie: 0, badSignature: 0 };
	readonly #full = new Map<string, number>();
	/** When the last bad signatures were seen, the oldest first, by this thread's monotonic clock in ms. */
	readonly #badSignatures: number[] = [];

	constructor(auth: GateAuth, storage: object, get: GetValue, { onRefresh }: GateOptions, warn: Warn | undefined) {
		this.#warn = warn;
		this.#auth = auth;
		this.#storage = storage;
		this.#get = get;
		this.#skipsRefresh = onRefresh === "skip";
	}

	stats(): GateStats {
		return { fast: this.#fast, refused: { ...this.#refused }, full: Object.fromEntries(this.#full) };
	}

	async check(from: unknown): Promise<unknown> {
		this.#setup ??= this.#readSetup((await this.#auth.$context) as AuthContext);
		const request = readRequest(from);
		if (request.hasMore) return this.#takeFullPath("options", from);
		const answer = this.#answer(this.#setup, request);
		const settled = answer instanceof Promise ? await answer : answer;
		return typeof settled === "string" ? this.#takeFullPath(settled, { headers: request.headers() }) : settled;
	}

	#readSetup(context: AuthContext): AuthSetup {
		const setup = new AuthSetup(context, this.#storage);
		if (setup.hasCookieCache) this.#warn?.(COOKIE_CACHE, Number.POSITIVE_INFINITY);
		return setup;
	}

	#takeFullPath(reason: string, argument: unknown): Promise<unknown> {
		this.#full.set(reason, (this.#full.get(reason) ?? 0) + 1);
		return this.#auth.api.getSession(argument);
	}

	/** The answer, or the reason why Better Auth has to give it, as a text. */
	#answer(setup: AuthSetup, request: CheckedRequest): Answer | string | Promise<Answer | string> {
		if (setup.fullPathReason !== undefined) return setup.fullPathReason;
		const plugin = setup.before.matching(request);
		if (plugin !== undefined) return `plugin:${plugin}`;
		const { cookie } = request;
		const verified = this.#verify(setup, cookie);
		if (typeof verified === "string") return this.#refuse(setup, request, verified);
		if (verified.hasData) return "sessionData";
		const text = this.#get(verified.token);
		if (text instanceof Promise) {
			// Not remembered: a session that the near cache does not hold may be checked only once.
			return text.then((text) =>
				text === null
					? "noSession"
					: this.#answerFor(setup, request, verified, SessionRecord.parse(text, setup.hidden)),
			);
		}
		if (text === null) return "noSession";
		if (!verified.isRemembered) {
			verified.isRemembered = true;
			this.#verified.set(cookie as string, verified, ENTRY_BYTES + (cookie as string).length);
		}
		return this.#answerFor(setup, request, verified, this.#recordIn(setup, verified.token, text));
	}

	#recordIn(setup: AuthSetup, token: string, text: string): SessionRecord | undefined {
		const known = this.#read.get(token);
		if (known?.text === text) return known.record;
		const record = SessionRecord.parse(text, setup.hidden);
		if (text.length <= MAX_REMEMBERED) this.#read.set(token, { text, record }, ENTRY_BYTES + 3 * text.length);
		return record;
	}

	#verify(setup: AuthSetup, cookie: string | null | undefined): Verified | Refusal {
		if (!cookie) return "noCookie";
		const known = this.#verified.get(cookie);
		if (known !== undefined) return known;
		return setup.verifier.verify(cookie);
	}

	#answerFor(setup: AuthSetup, request: CheckedRequest, verified: Verified, record: SessionRecord | undefined) {
		if (record === undefined) return "unreadable";
		// The user's not-before marker. Better Auth writes one since 1.7.16.
		const notBefore = this.#get(`${NOT_BEFORE_PREFIX}${record.userId}`);
		return notBefore instanceof Promise
			? notBefore.then((notBefore) => this.#answerWith(setup, request, verified, record, notBefore))
			: this.#answerWith(setup, request, verified, record, notBefore);
	}

	#answerWith(
		setup: AuthSetup,
		request: CheckedRequest,
		verified: Verified,
		record: SessionRecord,
		notBefore: string | null,
	) {
		if (notBefore !== null && record.createdAt < Number(notBefore)) return "revoked";
		const now = Date.now();
		if (record.expiresAt < now) return "expired";
		const answer: Answer = record.copy();
		if (!verified.dontRemember) {
			const isDue = setup.refreshes && record.expiresAt - setup.refreshBeforeExpiryMs <= now;
			if (isDue && !this.#skipsRefresh) return "refresh";
			if (setup.defersRefresh) answer.needsRefresh = isDue;
		}
		const plugin = setup.after.matching(request, answer);
		if (plugin !== undefined) return `plugin:${plugin}`;
		this.#fast++;
		return answer;
	}

	#refuse(setup: AuthSetup, request: CheckedRequest, why: Refusal): null | string {
		if (why === "badSignature") this.#noteBadSignature();
		const plugin = setup.after.matching(request, null);
		if (plugin !== undefined) return `plugin:${plugin}`;
		this.#refused[why]++;
		return null;
	}

	#noteBadSignature(): void {
		const { count, withinMs, repeatMs } = MANY_BAD_SIGNATURES;
		const now = performance.now();
		if (this.#badSignatures.push(now) < count) return;
		const first = this.#badSignatures.shift() as number;
		if (now - first <= withinMs) this.#warn?.(BAD_SIGNATURES, repeatMs);
	}
}
