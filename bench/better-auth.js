// Better Auth's internal adapter: what its routes call to find, write and end sessions. Measured here directly,
// because a whole request costs some 0.4 ms of parsing and cookies whatever the store is.

import { betterAuth } from "better-auth";
import { createAdapterFactory } from "better-auth/adapters";
import { SECRET, users } from "./records.js";

/**
 * @param {object} options Better Auth's `database` or `secondaryStorage`
 * @returns {Promise<{ auth: object, face: object }>} the operations of a session store, as its internal adapter does them
 */
export async function openBetterAuth(options) {
	const auth = betterAuth({
		baseURL: "http://localhost:3000",
		secret: SECRET,
		telemetry: { enabled: false },
		logger: { disabled: true },
		...options,
	});
	const { internalAdapter } = await auth.$context;
	const face = {
		read: (token) => internalAdapter.findSession(token),
		// The token is Better Auth's own choice.
		create: (session) => internalAdapter.createSession(session.userId),
		update: (token, changes) => internalAdapter.updateSession(token, changes),
		end: (token) => internalAdapter.deleteSession(token),
		list: (userId) => internalAdapter.listSessions(userId),
		endAll: (userId) => internalAdapter.deleteUserSessions(userId),
	};
	return { auth, face };
}

/**
 * A database that has the users and costs next to nothing. A store of sessions leaves them in the application's
 * database, where one look-up is the same for every store; what is measured is the store.
 */
export function usersOnly() {
	const byId = new Map(users.map((user) => [user.id, user]));
	const findOne = async ({ where }) => byId.get(where[0].value) ?? null;
	const refuse = async () => {
		throw new Error("the benchmark's sessions do not belong into the database of users");
	};
	return createAdapterFactory({
		config: { adapterId: "users-only", adapterName: "users only" },
		adapter: () => ({
			findOne,
			...Object.fromEntries(
				["create", "update", "updateMany", "findMany", "delete", "deleteMany", "count"].map((name) => [name, refuse]),
			),
		}),
	});
}
