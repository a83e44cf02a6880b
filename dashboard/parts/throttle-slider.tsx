import { useEffect, useRef, useState } from 'react'

/** The rates of the slider, in pieces of an answer per second. At its end there is no limit. */
const RATES = [1, 2, 5, 10, 20, 50, 100, 200] as const
/** An order is sent when the slider has rested for so long, in milliseconds. */
const REST_MS = 150

type SliderProps = { limit: number | undefined; disabled: boolean; set: (perSec: number | undefined) => void }

/** Slows the answers of a run down, whoever reads it. */
export function ThrottleSlider({ limit, disabled, set }: SliderProps) {
  const [at, setAt] = useState(() => (limit === undefined ? RATES.length : RATES.indexOf(limit as never)))
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => () => clearTimeout(timer.current), [])
  const words = (index: number): string => (RATES[index] === undefined ? 'no limit' : `${RATES[index]}/s`)
  const move = (index: number): void => {
    setAt(index)
    clearTimeout(timer.current)
    timer.current = setTimeout(() => set(RATES[index]), REST_MS)
  }
  return (
    <label className="throttle">
      Throttle
      <input
        type="range"
        min={0}
        max={RATES.length}
        value={at}
        disabled={disabled}
        aria-valuetext={words(at)}
        title="Pieces of model answers per second. Code that asks no model is not slowed."
        onChange={({ target }) => move(Number(target.value))}
      />
      <output>{words(at)}</output>
    </label>
  )
}
