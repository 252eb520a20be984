# Perl: regular expressions, hashes, string building.
my ($n, $x, %count, $text) = ($ARGV[0], 99, (), "");
for (1 .. $n) { $x = ($x * 69069 + 5) & 0xffffffff; $text .= sprintf("%s%d ", chr(97 + $x % 26) x ($x >> 28), $x % 997); }
$count{$1} += length $2 while $text =~ /([a-z]+)(\d+)\s/g;
(my $t = $text) =~ s/(\d)(?=[a-z])|a+b?/<$1>/g;
print join(" ", map { "$_=$count{$_}" } (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 4]), " ", length $t, "\n";
