import * as React from 'react'

/** Makes something for a component, and makes it anew when one of what it depends on is another. */
export function useKept<Kept>(make: () => Kept, dependsOn: readonly unknown[]): Kept {
  const [held, hold] = React.useState(() => ({ kept: make(), dependsOn }))
  if (dependsOn.every((one, at) => Object.is(one, held.dependsOn[at]))) return held.kept
  // React renders the component again at once, with this one.
  const next = { kept: make(), dependsOn }
  hold(next)
  return next.kept
}
