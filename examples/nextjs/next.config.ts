import { withRedisStore } from "better-auth-redis-store/next";

// The folder of this application: it lies inside another package, which Next.js would take for the whole.
const root = import.meta.dirname;

export default withRedisStore({
	output: "standalone",
	outputFileTracingRoot: root,
	turbopack: { root },
});
