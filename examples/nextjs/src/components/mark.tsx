/** Three servers around one store. */
export function Mark() {
	return (
		<svg className="mark" viewBox="0 0 24 24" aria-hidden="true">
			<path d="M12 12 12 4M12 12 4.5 18M12 12 19.5 18" />
			<circle cx="12" cy="4" r="2.5" />
			<circle cx="4.5" cy="18" r="2.5" />
			<circle cx="19.5" cy="18" r="2.5" />
			<circle className="core" cx="12" cy="12" r="3.5" />
		</svg>
	);
}
