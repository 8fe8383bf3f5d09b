/** User name and password by a function, which the native side asks at each connection. */
import * as native from "#native";

/** What to log in with. */
export interface Credentials {
	/** User name (ACL). Default: option `username`. */
	username?: string | undefined;
	/** Password, or a token that stands for one. */
	password: string;
}

/** Is asked at each connection, also when one was lost. */
export type CredentialsFunction = () => Credentials | Promise<Credentials>;

/** Asks a function, and hands on what it resolves to. What it says when it fails may hold a secret, so it is not repeated. */
export async function ask(border: number, question: number, credentials: CredentialsFunction): Promise<void> {
	let given: unknown;
	try {
		given = await credentials();
	} catch (error) {
		const kind = error instanceof Error && /^\w{1,40}$/.test(error.name) ? ` with ${error.name}` : "";
		native.refuse(border, question, false, `rejected${kind}; what it says is not repeated here, it may hold a secret`);
		return;
	}
	const problem = problemOf(given);
	if (problem !== undefined) {
		native.refuse(border, question, true, `must resolve to { username?, password }; ${problem}`);
		return;
	}
	const { username, password } = given as Credentials;
	native.answer(border, question, password, username || undefined);
}

function problemOf(given: unknown): string | undefined {
	if (typeof given !== "object" || given === null) return `it resolved to ${given === null ? "null" : typeof given}`;
	const { username, password } = given as Partial<Credentials>;
	if (typeof password !== "string" || password === "") return "password is no string, or empty";
	if (username !== undefined && typeof username !== "string") return "username is no string";
	return [username ?? "", password].every((text) => text.isWellFormed())
		? undefined
		: "it holds half of a surrogate pair";
}
