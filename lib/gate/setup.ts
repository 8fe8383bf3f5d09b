/** The setup that a gate reads from Better Auth, once: cookie names, secret, settings and plugins. */
import * as native from "#native";
import { invalid } from "../error.js";
import type { RedisStorage } from "../storage.js";
import { internalsOf } from "../storage-internals.js";
import { type Fields, type Plugin, PluginHooks } from "./hooks.js";
import type { HiddenFields } from "./record.js";

/** The parts of Better Auth's `$context` that are read. */
export interface AuthContext {
	version?: string | undefined;
	secret: string;
	authCookies: { [name in "sessionToken" | "dontRememberToken" | "sessionData"]: { name: string } };
	sessionConfig: { expiresIn: number; updateAge: number };
	tables?: Record<"session" | "user", { fields?: Fields } | undefined> | undefined;
	options: {
		baseURL?: unknown;
		hooks?: { before?: unknown; after?: unknown } | undefined;
		plugins?: readonly Plugin[] | undefined;
		secondaryStorage?: unknown;
		session?:
			| {
					cookieCache?: { enabled?: boolean | undefined } | undefined;
					storeTokenHash?: unknown;
					disableSessionRefresh?: boolean | undefined;
					deferSessionRefresh?: boolean | undefined;
					storeSessionInDatabase?: boolean | undefined;
					preserveSessionInDatabase?: boolean | undefined;
					additionalFields?: Fields | undefined;
			  }
			| undefined;
		user?: { additionalFields?: Fields | undefined } | undefined;
	};
}

/** The minor versions of Better Auth that the gate was tested with (__test__/gate/equality.test.js). It answers for no other version. */
const TESTED_MINORS = { oldest: 4, newest: 7 };

/** Without these fields the gate cannot know the user of a session, and whether the session is live. */
const NEEDED_FIELDS = ["id", "token", "userId", "expiresAt", "createdAt", "updatedAt"];

export class AuthSetup {
	/** Why every check takes the full path; `undefined` when not every check does. */
	readonly fullPathReason: string | undefined;
	/** Whether Better Auth may return a copy of the session from a cookie. */
	readonly hasCookieCache: boolean;
	readonly verifier: native.CookieVerifier;
	readonly before: PluginHooks;
	readonly after: PluginHooks;
	readonly hidden: HiddenFields;
	/** How long before its expiry a session is due for an extension, in ms. */
	readonly refreshBeforeExpiryMs: number;
	/** Whether sessions are extended at all. */
	readonly refreshes: boolean;
	/** Whether answers have `needsRefresh`, and nothing is extended. */
	readonly defersRefresh: boolean;

	/**
	 * @throws {SessionStoreError} `INVALID_ARGUMENT` when Better Auth has another storage, or does not keep its sessions where it would read
	 *   them during an outage.
	 */
	constructor(context: AuthContext, storage: object) {
		const { options, authCookies, sessionConfig, secret } = context;
		if (options.secondaryStorage !== storage) {
			throw invalid("storage: must be the same object as the secondaryStorage of betterAuth");
		}
		const { storeSessionInDatabase, preserveSessionInDatabase } = options.session ?? {};
		const turnsToDatabase = (storage as Partial<RedisStorage>).onUnavailable === "database";
		if (turnsToDatabase && (storeSessionInDatabase !== true || preserveSessionInDatabase === true)) {
			throw invalid(
				'onUnavailable: "database" needs Better Auth to find its sessions in the database: set session.storeSessionInDatabase, and not session.preserveSessionInDatabase',
			);
		}
		checkLimit(options, storage);
		internalsOf(storage)?.setSessionLife(sessionConfig.expiresIn);
		const plugins = options.plugins ?? [];
		this.hidden = { session: hiddenFields(context, "session"), user: hiddenFields(context, "user") };
		this.fullPathReason = this.#findFullPathReason(context);
		this.hasCookieCache = Boolean(options.session?.cookieCache?.enabled);
		this.verifier = new native.CookieVerifier(
			secret,
			authCookies.sessionToken.name,
			authCookies.dontRememberToken.name,
			authCookies.sessionData.name,
		);
		// The headers that Better Auth has set before it runs the after-hooks.
		const responseHeaders = new Headers(
			minorOf(context) >= 6 ? { "cache-control": "no-store", pragma: "no-cache" } : {},
		);
		this.before = new PluginHooks(plugins, "before", { ...context, responseHeaders: undefined });
		this.after = new PluginHooks(plugins, "after", { ...context, responseHeaders });
		this.refreshBeforeExpiryMs = (sessionConfig.expiresIn - sessionConfig.updateAge) * 1000;
		// Better Auth 1.4 has the option and ignores it.
		this.refreshes = !options.session?.disableSessionRefresh || minorOf(context) < 5;
		this.defersRefresh = options.session?.deferSessionRefresh === true && minorOf(context) >= 5;
	}

	#findFullPathReason(context: AuthContext): string | undefined {
		const { baseURL, hooks, plugins, session } = context.options;
		const minor = minorOf(context);
		if (!(minor >= TESTED_MINORS.oldest && minor <= TESTED_MINORS.newest)) return "version";
		if (session?.cookieCache?.enabled) return "cookieCache";
		// The token in the cookie is then not the key of the session.
		if (session?.storeTokenHash) return "storeTokenHash";
		if (typeof baseURL === "object" && baseURL !== null) return "baseURL";
		if (hooks?.before || hooks?.after) return "hooks";
		const owns = ({ endpoints = {} }: Plugin) =>
			"getSession" in endpoints || Object.values(endpoints).some((it) => it?.path === "/get-session");
		const owner = plugins?.find(owns);
		if (owner) return `plugin:${owner.id}`;
		return NEEDED_FIELDS.some((name) => this.hidden.session.has(name) || this.hidden.user.has(name))
			? "hiddenField"
			: undefined;
	}
}

/** @throws {SessionStoreError} `INVALID_ARGUMENT` when sessions are limited and stored in the database too. */
export function checkLimit({ session }: Pick<AuthContext["options"], "session">, storage: object): void {
	if (session?.storeSessionInDatabase !== true || !internalsOf(storage)?.limitsSessions) return;
	throw invalid(
		"maxSessionsPerUser cannot be combined with Better Auth's session.storeSessionInDatabase: a session that the limit ends would still have its row in the database, and Better Auth would find it there; remove one of the two",
	);
}

/** The minor version of Better Auth 1, of a prerelease too (7 of 1.7.0-beta.1); NaN for another major version. */
function minorOf({ version }: AuthContext): number {
	return Number(/^1\.(\d+)\.\d+(?:[-+]|$)/.exec(version ?? "")?.[1]);
}

/** Better Auth merges a model's fields in this order: its own, the application's, the plugins'. */
function hiddenFields({ tables, options }: AuthContext, model: "session" | "user"): ReadonlySet<string> {
	const fields: Fields = { ...tables?.[model]?.fields, ...options[model]?.additionalFields };
	for (const { schema } of options.plugins ?? []) Object.assign(fields, schema?.[model]?.fields);
	return new Set(Object.keys(fields).filter((name) => fields[name]?.returned === false));
}
