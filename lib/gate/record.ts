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
		for (const [name, value] of Object.entries(fields)) {
			if (value instanceof Date) this.#dates.push([name, value.getTime()]);
			else if (typeof value === "object" && value !== null) this.#objects.push(name);
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
		let record: { session?: unknown; user?: unknown } | null;
		try {
			record = JSON.parse(text, (_, value) => revived(value));
		} catch {
			return undefined;
		}
		const [session, user] = [record?.session, record?.user];
		if (!isObject(session) || !isObject(user)) return undefined;
		const times = [session.expiresAt, session.createdAt, session.updatedAt, user.createdAt, user.updatedAt];
		return times.some((time) => Number.isNaN(dateOf(time).getTime()))
			? undefined
			: new SessionRecord(session, user, hidden);
	}

	private constructor(session: Fields, user: Fields, hidden: Hidden) {
		const [createdAt, expiresAt] = [dateOf(session.createdAt), dateOf(session.expiresAt)];
		this.userId = session.userId;
		this.createdAt = createdAt.getTime();
		this.expiresAt = expiresAt.getTime();
		this.#session = new Half(
			told({ ...session, expiresAt, createdAt, updatedAt: dateOf(session.updatedAt) }, hidden.session),
		);
		this.#user = new Half(
			told({ ...user, createdAt: dateOf(user.createdAt), updatedAt: dateOf(user.updatedAt) }, hidden.user),
		);
	}

	/** What is answered, nobody else's. */
	copy(): { session: Fields; user: Fields } {
		return { session: this.#session.copy(), user: this.#user.copy() };
	}
}

function revived(value: unknown): unknown {
	if (typeof value !== "string" || !ISO_DATE.test(value)) return value;
	const date = new Date(value);
	return Number.isNaN(date.getTime()) ? value : date;
}

function isObject(value: unknown): value is Fields {
	return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function dateOf(value: unknown): Date {
	return new Date(value as Date);
}

function told(fields: Fields, hidden: ReadonlySet<string>): Fields {
	return Object.fromEntries(Object.entries(fields).filter(([name]) => !hidden.has(name)));
}
