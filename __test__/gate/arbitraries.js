// What equality.test.js draws from: settings of Better Auth, states of a session, Cookie headers.

import { createHmac } from "node:crypto";
import fc from "fast-check";

export const SECRET = "the secret of the gate's tests, of no application";
export const OLD_SECRET = "the secret that was used before, and that counts no more";

const DAY_S = 24 * 3600;

/** In place of a field's value: there is none. */
export const DELETED = "(deleted)";

/** @typedef {ReturnType<typeof settingsOf> extends fc.Arbitrary<infer T> ? T : never} Settings */

/** Settings of an application, as names: see apps.js. */
export const settingsOf = fc.record({
	plugins: fc.subarray([
		"organization",
		"admin",
		"multiSession",
		"lastLoginMethod",
		"oneTimeToken",
		"bearer",
		"nextCookies",
		"nosy",
		"anonymous",
	]),
	cookiePrefix: fc.constantFrom(undefined, "app", "a.b"),
	useSecureCookies: fc.boolean(),
	cookieName: fc.constantFrom(undefined, undefined, "sid"),
	updateAge: fc.constantFrom(undefined, 0, 3600, 30 * DAY_S),
	disableSessionRefresh: mostly(false, true),
	deferSessionRefresh: mostly(false, true),
	cookieCache: mostly(false, true),
	storeSessionInDatabase: mostly(false, true),
	preserveSessionInDatabase: mostly(false, true),
	hiddenFields: fc.boolean(),
	rotatedSecret: fc.boolean(),
	hooks: mostly(false, true),
	customSession: mostly(false, true),
});

/** What is changed in the record that a sign-up left. A function of its two halves, or a text in its place. */
const alterations = fc.oneof(
	{ weight: 6, arbitrary: fc.constant({}) },
	fc.record({ session: fields(), user: fields() }, { requiredKeys: [] }),
	fc.constantFrom(
		{ text: "" },
		{ text: "no JSON" },
		{ text: "null" },
		{ text: "[]" },
		{ text: '{"session":null,"user":null}' },
		{ user: null },
		{ userIsGone: true },
		{ isFlat: true },
		{ isArray: true },
		{ proto: true },
	),
);

/** Fields that an application, a plugin or an accident may have put into a half. */
function fields() {
	const dates = fc.constantFrom(
		"2026-01-01T00:00:00.000Z",
		"2026-01-01T00:00:00Z",
		"2026-13-01T00:00:00.000Z",
		"2026-01-01",
		"not a date",
		1_700_000_000_000,
		null,
		DELETED,
	);
	const value = fc.oneof(
		fc.string(),
		fc.constantFrom("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.123456789Z", "+010000-01-01T00:00:00.000Z", ""),
		fc.jsonValue({ maxDepth: 2 }),
	);
	return fc.record(
		{
			name: value,
			note: value,
			secretNote: value,
			theme: value,
			impersonatedBy: fc.constantFrom(null, "admin-1"),
			activeOrganizationId: fc.constantFrom(null, "org-1"),
			role: fc.constantFrom("admin", null),
			banned: fc.boolean(),
			createdAt: dates,
			updatedAt: dates,
		},
		{ requiredKeys: [] },
	);
}

/** The life that a session has left, in s, of 7 days; less than none: it is over by its own record. */
const lives = mostly(7 * DAY_S - 2 * 3600, 7 * DAY_S - 1, 5 * DAY_S, 60, -60);

/** What became of a session. */
const fates = mostly("lives", "revoked", "never was", "only in the database", "all revoked", "revoked before it began");

/** The ways to write a cookie's value: from `token.signature`, as it is. */
const encodings = {
	"as Better Auth writes it": (value) => encodeURIComponent(value),
	"not encoded": (value) => value,
	"all of it encoded": (value) => Buffer.from(value).toString("hex").replace(/../g, "%$&"),
	"in lower case": (value) => encodeURIComponent(value).replace(/%../g, (it) => it.toLowerCase()),
	"encoded twice": (value) => encodeURIComponent(encodeURIComponent(value)),
	"in quotes": (value) => `"${encodeURIComponent(value)}"`,
	"after a quote": (value) => `"${encodeURIComponent(value)}x`,
	"with a stray percent": (value) => `${value}%`,
};

/** The ways to break or bend a signed value. */
const bendings = {
	whole: (value) => value,
	"with other unused bits": (value) => value.slice(0, -2) + otherLast(value.at(-2)) + value.at(-1),
	truncated: (value) => value.slice(0, -3),
	"without padding": (value) => value.slice(0, -1),
	"padded more": (value) => `${value.slice(0, -2)}==`,
	unsigned: (value) => value.slice(0, value.lastIndexOf(".")),
	empty: () => "",
	"only a dot": () => ".",
	"only a signature": (value) => value.slice(value.lastIndexOf(".")),
	"of another token": (value) => `x${value}`,
	"with a space in it": (value) => value.replace(/.(?=.{9}$)/, " "),
	"for URLs": (value) => value.replaceAll("+", "-").replaceAll("/", "_"),
	long: (value) => value.replace(/^/, "x".repeat(5000)),
};

/** Another character of base64 with the same four first bits. */
function otherLast(c) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	return alphabet[alphabet.indexOf(c) ^ 1];
}

/** Tokens, Better Auth's own and stranger ones; each becomes unique. */
const tokens = fc.oneof(
	{ weight: 4, arbitrary: fc.constant("") },
	fc.constantFrom("a.b", "with space ", "100%", "ä€", "%41", "..", "x=y;z"),
);

const noise = fc.array(
	fc.constantFrom("theme=dark", "a", "=", "==", ";", " ", "x=%zz", "y=ä", 'z="', "SESSION=1", "_ga=GA1.2.3; _gid=4"),
	{ maxLength: 3 },
);

/** A request: the cookies it brings, and what else counts. */
export const requests = fc.record({
	token: tokens,
	life: lives,
	fate: fates,
	alterations,
	encoding: mostly(...Object.keys(encodings)),
	bending: mostly(...Object.keys(bendings)),
	signedWith: mostly(SECRET, OLD_SECRET),
	/** Before and after the session cookie. */
	before: noise,
	after: noise,
	repeated: mostly(undefined, "before", "after"),
	dontRemember: mostly(undefined, "signed", "unsigned"),
	sessionData: mostly(undefined, "", ".0", ".x"),
	authorization: mostly(undefined, "Bearer nothing", "token"),
	nosy: mostly(false, true),
	spaces: fc.constantFrom("; ", ";", " ;  "),
	as: mostly("headers", "request", "text", "call"),
});

/** A Cookie header. @param {Record<"sessionToken" | "dontRememberToken" | "sessionData", { name: string }>} names */
export function cookieHeader(names, token, request) {
	const value = bendings[request.bending](signed(token, request.signedWith));
	const session = `${names.sessionToken.name}=${encodings[request.encoding](value)}`;
	const repeated = `${names.sessionToken.name}=${encodeURIComponent(signed(`other-${token}`, SECRET))}`;
	const cookies = [
		...request.before,
		...(request.repeated === "before" ? [repeated] : []),
		session,
		...(request.repeated === "after" ? [repeated] : []),
		...request.after,
	];
	if (request.dontRemember) {
		const value = request.dontRemember === "signed" ? signed("true", SECRET) : "true";
		cookies.push(`${names.dontRememberToken.name}=${encodeURIComponent(value)}`);
	}
	if (request.sessionData !== undefined) cookies.push(`${names.sessionData.name}${request.sessionData}=nothing`);
	// A header is bytes; a browser sends what is beyond them as UTF-8.
	return Buffer.from(cookies.join(request.spaces)).toString("latin1");
}

function signed(text, secret) {
	return `${text}.${createHmac("sha256", secret).update(text).digest("base64")}`;
}

/** The first of them, as a rule. */
function mostly(usual, ...others) {
	return fc.oneof({ weight: 9, arbitrary: fc.constant(usual) }, fc.constantFrom(...others));
}
