// Users and passwords in PostgreSQL; sessions, verification values and rate limits in Redis.

import { betterAuth } from "better-auth";
import { prismaAdapter } from "better-auth/adapters/prisma";
import { nextCookies } from "better-auth/next-js";
import { redisStorage } from "better-auth-redis-store";
import { sessionGate } from "better-auth-redis-store/gate";
import { prisma } from "./prisma";

export const storage = redisStorage(); // at REDIS_URL

export const auth = betterAuth({
	database: prismaAdapter(prisma, { provider: "postgresql" }),
	secondaryStorage: storage,
	emailAndPassword: { enabled: true },
	session: {
		expiresIn: 60 * 60 * 24 * 7, // 7 days
		updateAge: 60 * 60 * 24, // 1 day
	},
	advanced: {
		// What nginx.conf sets: unlike X-Forwarded-For, nobody can send it along. Devices are listed, and attempts limited, by this address.
		ipAddress: { ipAddressHeaders: ["x-real-ip"] },
		// One sign-in for several subdomains: "example.com" for app.example.com and shop.example.com.
		crossSubDomainCookies: { enabled: Boolean(process.env.COOKIE_DOMAIN), domain: process.env.COOKIE_DOMAIN },
	},
	plugins: [nextCookies()], // the last one
});

/** Full checks of a session, in microseconds. Here, so that in each of Next.js' module graphs the store reads users' rows by way of `auth`. */
export const gates = {
	/** Lets Better Auth extend a session that is due. */
	extending: sessionGate(auth, storage),
	/** Leaves that to a place that can set cookies. */
	reading: sessionGate(auth, storage, { onRefresh: "skip" }),
};
