/** The hooks of Better Auth's plugins: which of them a check has to ask whether they want this request. */
import type { Asked } from "./request.js";

type Phase = "before" | "after";

interface Hook {
	matcher(context: object): boolean;
}

/** The parts of a plugin that are looked at. */
export interface Plugin {
	id: string;
	hooks?: { [phase in Phase]?: readonly Hook[] } | undefined;
	endpoints?: Record<string, { path?: string } | undefined> | undefined;
	schema?: Record<string, { fields?: Fields } | undefined> | undefined;
}

export type Fields = Record<string, { returned?: boolean | undefined }>;

/**
 * Hooks that match every request and do nothing to a session that is merely read: they look for cookies that were set, or for
 * a new session. (next-cookies' first one stops a refresh where cookies cannot be set; a refresh takes the full path.)
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

/** The hooks of one phase, without those that do nothing. */
export class Hooks {
	readonly #hooks: { plugin: string; matcher: Hook["matcher"] }[];
	readonly #context: object;

	/** @param context Better Auth's, as it is in this phase */
	constructor(plugins: readonly Plugin[], phase: Phase, context: object) {
		this.#hooks = plugins
			.filter(({ id }) => !HARMLESS[id]?.includes(phase))
			.flatMap(({ id, hooks }) => (hooks?.[phase] ?? []).map((it) => ({ plugin: id, matcher: it.matcher.bind(it) })));
		this.#context = context;
	}

	/**
	 * The plugin whose hook wants this request.
	 * @param answer what it is going to be answered, once that is known
	 */
	wanting(asked: Asked, answer?: Answer): string | undefined {
		if (this.#hooks.length === 0) return undefined;
		// Plain objects with properties of their own, as Better Auth's are: a matcher may spread them.
		const context = { ...this.#context, returned: answer, session: answer ?? null };
		const request = { path: "/get-session", asResponse: false, headers: asked.headers(), context };
		for (const { plugin, matcher } of this.#hooks) if (wants(matcher, request)) return plugin;
		return undefined;
	}
}

/** One that throws is for Better Auth to report. */
function wants(matcher: Hook["matcher"], request: object): boolean {
	try {
		return Boolean(matcher(request));
	} catch {
		return true;
	}
}
