// The anti-malware test file of https://www.eicar.org/download-anti-malware-testfile/ : its 68 bytes at the very start,
// a file of at most 128 bytes, and behind them nothing but space, tab, LF, CR or Ctrl-Z. In hex, so that no scanner
// takes this file for one.
rule Eicar_Test_File
{
  strings:
    $eicar = {
      58 35 4f 21 50 25 40 41 50 5b 34 5c 50 5a 58 35 34 28 50 5e 29 37 43 43 29 37 7d 24 45 49 43 41 52 2d 53 54
      41 4e 44 41 52 44 2d 41 4e 54 49 56 49 52 55 53 2d 54 45 53 54 2d 46 49 4c 45 21 24 48 2b 48 2a
    }
  condition:
    $eicar at 0 and filesize <= 128 and (
      filesize == 68 or
      for all i in (68..filesize - 1) : (
        uint8(i) == 0x20 or uint8(i) == 0x09 or uint8(i) == 0x0a or uint8(i) == 0x0d or uint8(i) == 0x1a
      )
    )
}
