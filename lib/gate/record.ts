/** A session record as Better Auth answers it: read once, copied for each who asks. */

/** As Better Auth's `safeJSONParse` (1.3 to 1.7) recognizes a date: anywhere, and whatever the field is called. */
const ISO_DATE = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z$/;

type Fields = Record<string, unknown>;

/** The names of the fields that are not to be told (`returned: false`). */
export interface Hidden {
	session: ReadonlySet<string>;
	user: ReadonlySet<string>;
}

/** An object, and what of it has to be made anew in each copy. */
class Half {
	readonly #fields: Fields;
	readonly #dates: [string, number][] = [];
	readonly #objects: string[] = [];

	constructor(fields: Fields) {
		this.#fields = fields;
		for (const name in fields) {
			const value = fields[name];
			if (typeof value !== "object" || value === null) continue;
			if (value instanceof Date) this.#dates.push([name, value.getTime()]);
			else this.#objects.push(name);
		}
	}

	copy(): Fields {
		const copy = { ...this.#fields };
		for (const [name, time] of this.#dates) copy[name] = new Date(time);
		for (const name of this.#objects) copy[name] = structuredClone(copy[name]);
		return copy;
	}
}

export class SessionRecord {
	readonly userId: unknown;
	/** In ms since the epoch. */
	readonly createdAt: number;
	/** In ms since the epoch. */
	readonly expiresAt: number;
	readonly #session: Half;
	readonly #user: Half;

	/** The record in a text; `undefined` when it is none that Better Auth could answer with. */
	static parse(text: string, hidden: Hidden): SessionRecord | undefined {
		// An object that is told by its prototype is nothing to be copied.
		if (text.includes("__proto__")) return undefined;
		let record: { session?: unknown; user?: unknown; token?: unknown } | null;
		try {
			record = JSON.parse(text);
		} catch {
			return undefined;
		}
		const [session, user] = [record?.session, record?.user];
		// With a token of its own it is a session that has a field called `session`.
		if (record?.token !== undefined) return undefined;
		if (!isObject(session) || !isObject(user)) return undefined;
		reviveDates(session);
		reviveDates(user);
		for (const name of ["expiresAt", "createdAt", "updatedAt"]) if (!makeDate(session, name)) return undefined;
		for (const name of ["createdAt", "updatedAt"]) if (!makeDate(user, name)) return undefined;
		return new SessionRecord(session, user, hidden);
	}

	private constructor(session: Fields, user: Fields, hidden: Hidden) {
		this.userId = session.userId;
		this.createdAt = (session.createdAt as Date).getTime();
		this.expiresAt = (session.expiresAt as Date).getTime();
		for (const name of hidden.session) delete session[name];
		for (const name of hidden.user) delete user[name];
		this.#session = new Half(session);
		this.#user = new Half(user);
	}

	/** What is answered, nobody else's. */
	copy(): { session: Fields; user: Fields } {
		return { session: this.#session.copy(), user: this.#user.copy() };
	}
}

function isObject(value: unknown): value is Fields {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** In place, at any depth. (By itself three times as fast as a reviver of JSON.parse.) */
function reviveDates(holder: Fields): void {
	for (const name in holder) {
		const value = holder[name];
		if (typeof value === "string") {
			if (value.endsWith("Z") && ISO_DATE.test(value)) {
				const date = new Date(value);
				if (!Number.isNaN(date.getTime())) holder[name] = date;
			}
		} else if (typeof value === "object" && value !== null) reviveDates(value as Fields);
	}
}

/** Whether the field says a date; it is one then, as Better Auth makes it one. */
function makeDate(holder: Fields, name: string): boolean {
	const value = holder[name];
	const date = value instanceof Date ? value : new Date(value as string);
	holder[name] = date;
	return !Number.isNaN(date.getTime());
}
