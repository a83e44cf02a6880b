const PATHS = {
  back: 'M9.5 3 5 8l4.5 5',
  bell: 'M3.5 11.5h9l-1.2-1.8V7a3.3 3.3 0 0 0-6.6 0v2.7zM6.7 13.5h2.6',
  bellOff: 'M3.5 11.5h9l-1.2-1.8V7a3.3 3.3 0 0 0-6.6 0v2.7zM6.7 13.5h2.6M2.5 2.5l11 11',
  auto: 'M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11',
  light:
    'M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6M8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9',
  dark: 'M13 9.6A5.4 5.4 0 0 1 6.4 3a5.4 5.4 0 1 0 6.6 6.6z',
  close: 'M4 4l8 8M12 4l-8 8',
  play: 'M5 3.2v9.6L12.5 8z',
  pause: 'M5.2 3.5v9M10.8 3.5v9',
  search: 'M7 2.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4M10.2 10.2l3.3 3.3',
  stop: 'M4.2 4.2h7.6v7.6H4.2z',
  out: 'M6.5 2.8h-3v10.4h3M7 8h6.5M11 5.4 13.6 8 11 10.6',
} as const

/** A small picture. What it means is said by the text or the name of the control that it is in. */
export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  )
}
