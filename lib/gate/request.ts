/** What a check is asked about: where a request's Cookie header is, whatever kind of request it is. */
import { invalid } from "../error.js";

/** Headers as Node.js has them: `IncomingMessage.headers`. */
export interface NodeHeaders {
	readonly [name: string]: string | readonly string[] | undefined;
}

/** Headers of any kind: a `Headers` object, what Next.js' `headers()` resolves to, or `IncomingMessage.headers`. */
export type HeadersLike = { get(name: string): string | null } | NodeHeaders;

/** What a session can be asked for: a request (Fetch, Next.js, Node.js, Express, Fastify), its headers, or its Cookie header as a text. */
export type GateRequest = string | HeadersLike | { readonly headers: HeadersLike };

/** A request as the gate looks at it. */
export interface Asked {
	/** Its Cookie header, if it has one. */
	readonly cookie: string | null | undefined;
	/** Its headers, made for whoever needs them. */
	headers(): Headers;
	/** Whether it is the argument of a call that wants more than the session: a query, a `Response`, headers. */
	readonly wantsMore: boolean;
}

type Object_ = Record<string, unknown>;

/** @throws {SessionStoreError} `INVALID_ARGUMENT` when it is nothing of that kind. */
export function asked(from: unknown): Asked {
	if (typeof from === "string") return new Plain({ cookie: from });
	if (typeof from !== "object" || from === null) throw unusable("the request", from);
	if (typeof (from as Headers).get === "function" && !("headers" in from)) return new Fetched(from as Headers, false);
	if (!("headers" in from)) return new Plain(from as NodeHeaders);
	const { headers } = from;
	if (typeof headers !== "object" || headers === null) throw unusable("headers", headers);
	// Requests have a URL. What has none is the argument of auth.api.getSession.
	const wantsMore =
		!("url" in from) && Object.entries(from).some(([name, value]) => name !== "headers" && value !== undefined);
	return typeof (headers as Object_).get === "function"
		? new Fetched(headers as Headers, wantsMore)
		: new Plain(headers as NodeHeaders, wantsMore);
}

function unusable(what: string, value: unknown): Error {
	return invalid(
		`${what}: must be Headers, a Request or a Cookie header, not ${value === null ? "null" : typeof value}`,
	);
}

class Fetched implements Asked {
	readonly #headers: Headers;
	readonly wantsMore: boolean;

	constructor(headers: Headers, wantsMore: boolean) {
		this.#headers = headers;
		this.wantsMore = wantsMore;
	}

	get cookie(): string | null {
		return this.#headers.get("cookie");
	}

	headers(): Headers {
		return this.#headers;
	}
}

class Plain implements Asked {
	readonly #headers: NodeHeaders;
	readonly wantsMore: boolean;

	constructor(headers: NodeHeaders, wantsMore = false) {
		this.#headers = headers;
		this.wantsMore = wantsMore;
	}

	get cookie(): string | undefined {
		const { cookie } = this.#headers;
		return typeof cookie === "object" ? cookie.join("; ") : cookie;
	}

	headers(): Headers {
		const headers = new Headers();
		for (const [name, values] of Object.entries(this.#headers)) {
			// HTTP/2 has its own among them, such as ":path".
			if (values === undefined || name.startsWith(":")) continue;
			for (const value of typeof values === "string" ? [values] : values) headers.append(name, value);
		}
		return headers;
	}
}
