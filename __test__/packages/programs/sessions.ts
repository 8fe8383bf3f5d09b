// What a consumer does with the package, in TypeScript, with every kind of type that it has.
import { RedisSessionStore, type Session, SessionStoreError, type StoreOptions } from "better-auth-redis-store";
import { type GateAuth, sessionGate } from "better-auth-redis-store/gate";

interface Device extends Session {
	device: string;
}

export function gate(auth: GateAuth, store: { get(key: string): string | null | Promise<string | null> }) {
	return sessionGate(auth, store);
}

async function use(options: StoreOptions): Promise<string> {
	const store = new RedisSessionStore<Device>(options);
	const userId = crypto.randomUUID(); // the server may be one for many consumers
	const expiresAt = new Date(Date.now() + 60_000);
	await store.createSession({ token: `laptop of ${userId}`, userId, expiresAt, device: "laptop" });
	await store.createSession({ token: `phone of ${userId}`, userId, expiresAt, device: "phone" });
	const before: Device[] = await store.getUserSessions(userId);
	const ended: number = await store.deleteUserSessions(userId);
	const left = await store.getUserSessions(userId);
	await store.close();
	return `listed ${before.length}, ended ${ended}, left ${left.length}`;
}

async function main(): Promise<void> {
	for (const url of process.argv.slice(2)) {
		try {
			console.log(`${new URL(url).protocol} ${await use({ url })}`);
		} catch (error) {
			throw error instanceof SessionStoreError ? new Error(error.code) : error;
		}
	}
}
void main();
