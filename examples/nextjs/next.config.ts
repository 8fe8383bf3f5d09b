import { withRedisStore } from "better-auth-redis-store/next";

// The folder of this application: it lies inside another package, which Next.js would take for the whole.
const root = import.meta.dirname;

export default withRedisStore({
	output: "standalone",
	poweredByHeader: false,
	// With it, `next dev` of Next.js 16.4 keeps the old code of what proxy.ts and a route have in common, such as auth.ts
	// (as in vercel/next.js#96705).
	experimental: { turbopackServerFastRefresh: false },
	outputFileTracingRoot: root,
	turbopack: { root },
});
