/** What a check is asked about: where a request's Cookie header is, whatever kind of request it is. */
import { invalid } from "../error.js";

/** Headers as Node.js has them: `IncomingMessage.headers`. */
export interface NodeHeaders {
	readonly [name: string]: string | readonly string[] | undefined;
}

/** Headers of any kind: a `Headers` object, what Next.js' `headers()` resolves to, or `IncomingMessage.headers`. */
export type HeadersLike = (Iterable<[string, string]> & { get(name: string): string | null }) | NodeHeaders;

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

/** What no HTTP header may hold. */
const NO_HEADER = /[\0\r\n]|[^\0-\xff]/;

/** @throws {SessionStoreError} `INVALID_ARGUMENT` when it is nothing of that kind. */
export function asked(from: unknown): Asked {
	if (typeof from === "string") {
		if (NO_HEADER.test(from)) throw invalid("the request: the Cookie header holds what no header may hold");
		return new Plain({ cookie: from }, false);
	}
	if (typeof from !== "object" || from === null) throw unusable("the request", from);
	const { headers } = from as { headers?: unknown };
	// A header may have any name, "headers" as well; then it is a text.
	if (!("headers" in from) || typeof headers === "string") {
		// Looked at here only: of what Next.js hands to proxy.ts, "request" throws.
		const isCall = "request" in from && typeof from.request === "object";
		return isCall ? new Plain({}, true) : ofHeaders(from, false);
	}
	if (typeof headers !== "object" || headers === null) throw unusable("headers", headers);
	// Requests have a URL. What has none is the argument of auth.api.getSession.
	const isCall = !("url" in from);
	return ofHeaders(
		headers,
		isCall && Object.entries(from).some(([name, value]) => name !== "headers" && value !== undefined),
	);
}

function ofHeaders(headers: object, wantsMore: boolean): Asked {
	if (Symbol.iterator in headers) {
		const isHeaders = typeof (headers as Headers).get === "function";
		return new Fetched(isHeaders ? (headers as Headers) : new Headers(headers as [string, string][]), wantsMore);
	}
	if (typeof (headers as Headers).get === "function") throw unusable("headers", headers);
	return new Plain(headers as NodeHeaders, wantsMore);
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
	#made: Headers | undefined;
	readonly wantsMore: boolean;

	constructor(headers: NodeHeaders, wantsMore: boolean) {
		this.#headers = headers;
		this.wantsMore = wantsMore;
	}

	get cookie(): string | null | undefined {
		const { cookie } = this.#headers;
		if (typeof cookie === "string") return cookie;
		// Node.js' names are in lower case; those of an object that somebody wrote may not be.
		return cookie === undefined && !("Cookie" in this.#headers) ? undefined : this.headers().get("cookie");
	}

	headers(): Headers {
		this.#made ??= this.#make();
		return this.#made;
	}

	#make(): Headers {
		const headers = new Headers();
		for (const [name, values] of Object.entries(this.#headers)) {
			// HTTP/2 has its own among them, such as ":path".
			if (values === undefined || values === null || name.startsWith(":")) continue;
			try {
				for (const value of typeof values === "string" ? [values] : values) headers.append(name, value);
			} catch {
				// The platform's own error would quote the value.
				throw invalid(`headers: one of them has a name or a value that no header may have`);
			}
		}
		return headers;
	}
}
