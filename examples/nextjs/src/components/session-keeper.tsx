"use client";

import { authClient } from "@/lib/auth-client";

/** Extends the session while somebody uses it: Better Auth's own route, which this asks, does so once a day. */
export function SessionKeeper() {
	authClient.useSession();
	return null;
}
