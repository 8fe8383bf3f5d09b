/** Reads the Cookie header and other headers of any kind of request. */
import { invalid } from "../error.js";

/** Headers as Node.js has them: `IncomingMessage.headers`. */
export interface NodeHeaders {
	readonly [name: string]: string | readonly string[] | undefined;
}

/** Headers of any kind: a `Headers` object, the result of Next.js' `headers()`, or `IncomingMessage.headers`. */
export type HeadersLike = (Iterable<[string, string]> & { get(name: string): string | null }) | NodeHeaders;

/** The request to check: a request object (Fetch, Next.js, Node.js, Express, Fastify), its headers, or its Cookie header as a text. */
export type GateRequest = string | HeadersLike | { readonly headers: HeadersLike };

/** A request as the gate reads it. */
export interface CheckedRequest {
	/** Its Cookie header, if it has one. */
	readonly cookie: string | null | undefined;
	/** Its headers, converted when they are needed. */
	headers(): Headers;
	/** Whether this is an argument of `auth.api.getSession` with more than headers: a query, `asResponse` and so on. */
	readonly hasMore: boolean;
}

/** Characters that no HTTP header may hold. */
const NOT_IN_HEADER = /[\0\r\n]|[^\0-\xff]/;

/** @throws {SessionStoreError} `INVALID_ARGUMENT` when the value is no request. */
export function readRequest(from: unknown): CheckedRequest {
	if (typeof from === "string") {
		if (NOT_IN_HEADER.test(from))
			throw invalid("request: the Cookie header contains characters that no header may contain");
		return new NodeRequest({ cookie: from }, false);
	}
	if (typeof from !== "object" || from === null) throw unusable("the request", from);
	const { headers } = from as { headers?: unknown };
	// A header may have any name, even "headers"; its value is a text then.
	if (!("headers" in from) || typeof headers === "string") {
		// Read here only: on the request that Next.js passes to proxy.ts, "request" throws.
		const isCall = "request" in from && typeof from.request === "object";
		return isCall ? new NodeRequest({}, true) : fromHeaders(from, false);
	}
	if (typeof headers !== "object" || headers === null) throw unusable("headers", headers);
	// A request has a URL. An object without one is the argument of auth.api.getSession.
	const isCall = !("url" in from);
	return fromHeaders(
		headers,
		isCall && Object.entries(from).some(([name, value]) => name !== "headers" && value !== undefined),
	);
}

function fromHeaders(headers: object, hasMore: boolean): CheckedRequest {
	if (Symbol.iterator in headers) {
		const isHeaders = typeof (headers as Headers).get === "function";
		return new FetchRequest(isHeaders ? (headers as Headers) : new Headers(headers as [string, string][]), hasMore);
	}
	if (typeof (headers as Headers).get === "function") throw unusable("headers", headers);
	return new NodeRequest(headers as NodeHeaders, hasMore);
}

function unusable(what: string, value: unknown): Error {
	return invalid(
		`${what}: must be Headers, a Request or a Cookie header, not ${value === null ? "null" : typeof value}`,
	);
}

class FetchRequest implements CheckedRequest {
	readonly #headers: Headers;
	readonly hasMore: boolean;

	constructor(headers: Headers, hasMore: boolean) {
		this.#headers = headers;
		this.hasMore = hasMore;
	}

	get cookie(): string | null {
		return this.#headers.get("cookie");
	}

	headers(): Headers {
		return this.#headers;
	}
}

class NodeRequest implements CheckedRequest {
	readonly #headers: NodeHeaders;
	#made: Headers | undefined;
	readonly hasMore: boolean;

	constructor(headers: NodeHeaders, hasMore: boolean) {
		this.#headers = headers;
		this.hasMore = hasMore;
	}

	get cookie(): string | null | undefined {
		const { cookie } = this.#headers;
		if (typeof cookie === "string") return cookie;
		// Node.js has names in lower case; an object that the application wrote may not.
		return cookie === undefined && !("Cookie" in this.#headers) ? undefined : this.headers().get("cookie");
	}

	headers(): Headers {
		this.#made ??= this.#make();
		return this.#made;
	}

	#make(): Headers {
		const headers = new Headers();
		for (const [name, values] of Object.entries(this.#headers)) {
			// HTTP/2 adds its own, such as ":path".
			if (values === undefined || values === null || name.startsWith(":")) continue;
			try {
				for (const value of typeof values === "string" ? [values] : values) headers.append(name, value);
			} catch {
				// The platform's error would quote the value.
				throw invalid(`headers: one of them has an invalid name or value`);
			}
		}
		return headers;
	}
}
