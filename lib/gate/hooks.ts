/** The hooks of Better Auth's plugins: finds a plugin whose hook would run for a request. */
import type { CheckedRequest } from "./request.js";

type Phase = "before" | "after";

interface Hook {
	matcher(context: object): boolean;
}

/** The parts of a plugin that are read. */
export interface Plugin {
	id: string;
	hooks?: { [phase in Phase]?: readonly Hook[] } | undefined;
	endpoints?: Record<string, { path?: string } | undefined> | undefined;
	schema?: Record<string, { fields?: Fields } | undefined> | undefined;
}

export type Fields = Record<string, { returned?: boolean | undefined }>;

/**
 * Hooks that match every request and change nothing when a session is only read: they act on cookies that were set, or on a new session.
 * (The before-hook of next-cookies prevents a refresh where cookies cannot be set; a refresh takes the full path.)
 * __test__/gate/plugins.test.js runs each of them.
 */
const HARMLESS: Record<string, readonly Phase[]> = {
	bearer: ["after"],
	"last-login-method": ["after"],
	"multi-session": ["after"],
	"next-cookies": ["before", "after"],
	"one-time-token": ["after"],
	"sveltekit-cookies": ["after"],
	"tanstack-start-cookies": ["after"],
	"tanstack-start-cookies-solid": ["after"],
};

type Answer = { session: unknown } | null | undefined;

/** The hooks of one phase, without the harmless ones. */
export class PluginHooks {
	readonly #hooks: { plugin: string; matcher: Hook["matcher"] }[];
	readonly #context: object;

	/** @param context Better Auth's context, as it is in this phase. */
	constructor(plugins: readonly Plugin[], phase: Phase, context: object) {
		this.#hooks = plugins
			.filter(({ id }) => !HARMLESS[id]?.includes(phase))
			.flatMap(({ id, hooks }) => (hooks?.[phase] ?? []).map((it) => ({ plugin: id, matcher: it.matcher.bind(it) })));
		this.#context = context;
	}

	/**
	 * The id of a plugin whose hook matches the request; `undefined` when there is none.
	 *
	 * @param answer The answer of the check, in the after phase.
	 */
	matching(from: CheckedRequest, answer?: Answer): string | undefined {
		if (this.#hooks.length === 0) return undefined;
		// Plain objects with own properties, like Better Auth's: a matcher may spread them.
		const context = { ...this.#context, returned: answer, session: answer ?? null };
		const request = { path: "/get-session", asResponse: false, headers: from.headers(), context };
		for (const { plugin, matcher } of this.#hooks) if (matches(matcher, request)) return plugin;
		return undefined;
	}
}

/** A matcher that throws counts as a match: Better Auth then reports its error on the full path. */
function matches(matcher: Hook["matcher"], request: object): boolean {
	try {
		return Boolean(matcher(request));
	} catch {
		return true;
	}
}
